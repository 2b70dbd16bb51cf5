-- The roles of report-jobs, one per service and one for the demo's data source.
-- Idempotent. Run as an administrator, in any database: roles belong to the whole server.
-- Passwords are set apart from this file (locally by local_stack.bootstrap).
DO $roles$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY
        ARRAY['gateway', 'report_worker', 'status_projector', 'notifier', 'report_source']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        END IF;
    END LOOP;
END
$roles$;

-- Reports only read.
ALTER ROLE report_source SET default_transaction_read_only = on;
