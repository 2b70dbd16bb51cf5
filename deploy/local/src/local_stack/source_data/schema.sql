-- The tables that the shipped reports read. Idempotent; run by the administrator.
-- Identifiers are text, since every shop numbers its orders in its own way, and an order may name
-- a customer that nobody told us about. Amounts keep the digits that they came with.
CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE IF NOT EXISTS shop.customers (
    customer_id text PRIMARY KEY,
    name text NOT NULL,
    email text,
    country text,
    segment text,
    created_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS shop.orders (
    order_id text PRIMARY KEY,
    customer_id text NOT NULL,
    created_at timestamptz NOT NULL,
    amount numeric NOT NULL,
    status text,
    currency text,
    channel text,
    region text,
    note text
);

CREATE INDEX IF NOT EXISTS orders_by_time ON shop.orders (created_at, order_id);

GRANT USAGE ON SCHEMA shop TO report_source;
GRANT SELECT ON shop.customers, shop.orders TO report_source;
