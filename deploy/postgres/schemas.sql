-- The schemas of report-jobs in one database: each service owns its own and sees no other.
-- Idempotent. Run as an administrator in that database, after roles.sql.
CREATE SCHEMA IF NOT EXISTS gateway AUTHORIZATION gateway;
CREATE SCHEMA IF NOT EXISTS report_worker AUTHORIZATION report_worker;
CREATE SCHEMA IF NOT EXISTS read_model AUTHORIZATION status_projector;
CREATE SCHEMA IF NOT EXISTS notifier AUTHORIZATION notifier;

-- The gateway answers from the read model; whatever the projector creates there it may read.
GRANT USAGE ON SCHEMA read_model TO gateway;
GRANT SELECT ON ALL TABLES IN SCHEMA read_model TO gateway;
ALTER DEFAULT PRIVILEGES FOR ROLE status_projector IN SCHEMA read_model
    GRANT SELECT ON TABLES TO gateway;

-- The demo's data: loaded by the administrator, read by reports.
CREATE SCHEMA IF NOT EXISTS shop;
GRANT USAGE ON SCHEMA shop TO report_source;
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO report_source;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO report_source;
