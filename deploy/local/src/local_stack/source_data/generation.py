"""Generated customers and orders: realistic, from a seed, made by the database server itself."""

from dataclasses import dataclass
from typing import Final

from local_stack.source_data import markets
from local_stack.source_data.connection import filling

CUSTOMERS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Generated:
    """What the data source holds of generated data now."""

    customers: int
    orders: int


async def generate(dsn: str, *, orders: int = 100_000, seed: int = 1) -> Generated:
    """Fill the data source up to so many generated orders, over the years 2023 to 2025.

    Every value follows from the seed and the row's own number: a larger size adds orders and
    changes none, and the same size again adds nothing. Orders that came from files stay. Times
    follow a season (weekends, summers, the weeks before Christmas, growth from year to year);
    some notes hold what breaks careless exports.
    """
    async with filling(dsn) as connection:
        await connection.execute(_CUSTOMERS, CUSTOMERS, seed, *markets.customer_arrays())
        await connection.execute(_DAYS)
        await connection.execute(_ORDERS, orders, seed, CUSTOMERS, *markets.order_arrays())
        await connection.execute("ANALYZE shop.customers, shop.orders")
        counts = await connection.fetchrow(_COUNTS)
    return Generated(*(counts or (0, 0)))


_LOW_53_BITS: Final = 2**53 - 1


def _draw(purpose: int, row: str = "i") -> str:
    """Make SQL for a number in [0, 1) that follows from seed ($2), row and purpose: a hash."""
    drawn = f"hashint8extended({row}, $2 * 1000 + {purpose}) & {_LOW_53_BITS}"
    return f"(({drawn}) / {_LOW_53_BITS + 1}::float8)"


def _pick(array: str, purpose: int, row: str = "i") -> str:
    """One item of an array, all equally likely."""
    return f"({array})[1 + floor(cardinality({array}) * {_draw(purpose, row)})::int]"


def _weighted(array: str, thresholds: str, purpose: int, row: str = "i") -> str:
    """One item of an array, by rising thresholds of which the last is 1."""
    return f"({array})[1 + width_bucket({_draw(purpose, row)}, {thresholds})]"


_GIVEN: Final = _pick("string_to_array(given, '|')", 11)
_FAMILY: Final = _pick("string_to_array(family, '|')", 12)

_CUSTOMERS: Final = f"""
INSERT INTO shop.customers (customer_id, name, email, country, segment, created_at)
SELECT 'C' || lpad(i::text, 6, '0'),
       CASE WHEN surname_first THEN {_FAMILY} || {_GIVEN} ELSE {_GIVEN} || ' ' || {_FAMILY} END,
       'c' || lpad(i::text, 6, '0') || '@example.com',
       country,
       {_weighted("ARRAY['CONSUMER', 'BUSINESS', 'PUBLIC']", "ARRAY[0.72, 0.95]::float8[]", 13)},
       timestamptz '2019-01-01 00:00:00+00' + {_draw(14)} * interval '1460 days'
FROM (
    SELECT i, 1 + width_bucket({_draw(10)}, $3::float8[]) AS market
    FROM generate_series(1, $1::int) AS i
) AS numbered,
LATERAL (
    SELECT ($4::text[])[market] AS country, ($5::text[])[market] AS given,
           ($6::text[])[market] AS family, ($7::bool[])[market] AS surname_first
) AS chosen
ON CONFLICT (customer_id) DO NOTHING
"""  # noqa: S608 - made of constants

_DAYS: Final = """
CREATE TEMPORARY TABLE season ON COMMIT DROP AS
SELECT array_agg(day ORDER BY day) AS days, array_agg(upto ORDER BY day) AS thresholds
FROM (
    SELECT day, sum(weight) OVER (ORDER BY day) / sum(weight) OVER () AS upto
    FROM (
        SELECT day::date AS day,
               (ARRAY[1.0, 0.95, 0.97, 1.0, 1.1, 0.75, 0.6])[extract(isodow FROM day)::int]
               * (ARRAY[0.85, 0.85, 0.95, 1.0, 1.05, 0.95, 0.8, 0.8, 1.0, 1.05, 1.4, 1.6])[
                   extract(month FROM day)::int]
               * power(1.2, extract(year FROM day)::float8 - 2023) AS weight
        FROM generate_series(date '2023-01-01', date '2025-12-31', interval '1 day') AS day
    ) AS weighted
) AS cumulated
"""

_ORDERS: Final = f"""
INSERT INTO shop.orders
    (order_id, customer_id, created_at, amount, status, currency, channel, region, note)
SELECT 'ORD-' || lpad(i::text, 8, '0'),
       'C' || lpad(customer::text, 6, '0'),
       date_trunc('milliseconds', day + ({_draw(2)} + {_draw(3)}) / 2 * interval '1 day'),
       CASE WHEN currency = 'JPY' THEN round(price) ELSE round(price, 2) END,
       {_weighted("$8::text[]", "$9::float8[]", 4)},
       currency,
       {_weighted("$10::text[]", "$11::float8[]", 5)},
       ($5::text[])[market],
       CASE WHEN {_draw(6)} < 0.12 THEN {_pick("$12::text[]", 7)} END
FROM (
    SELECT i, customer, 1 + width_bucket({_draw(10, "customer")}, $4::float8[]) AS market,
           (days[1 + width_bucket({_draw(1)}, thresholds)])::timestamp AT TIME ZONE 'UTC' AS day
    FROM season, generate_series(1, $1::int) AS i,
         LATERAL (SELECT 1 + floor($3::int * power({_draw(8)}, 1.6))::int AS customer) AS buyer
) AS placed,
LATERAL (
    SELECT ($6::text[])[market] AS currency,
           (($7::float8[])[market] * (4 - 38 * ln(1 - {_draw(9)})))::numeric AS price
) AS priced
ON CONFLICT (order_id) DO NOTHING
"""  # noqa: S608 - made of constants

_COUNTS: Final = """
SELECT (SELECT count(*) FROM shop.customers),
       (SELECT count(*) FROM shop.orders WHERE order_id LIKE 'ORD-%')
"""
