"""Progress, cancellation, deletion, history and the vector of each job; the purge's watermark."""

from alembic import op

revision = "0002"
down_revision = "0001"

_EMPTY_IN_A_TOMBSTONE = (
    "description_version",
    "description_digest",
    "report_type",
    "format",
    "created_at",
    "execution_version",
    "execution_digest",
    "run",
    "attempt",
    "status",
    "updated_at",
)


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE jobs
            ADD COLUMN progress_phase      text,
            ADD COLUMN progress_percent    int,
            ADD COLUMN rows_processed      bigint,
            ADD COLUMN rows_total          bigint,
            ADD COLUMN cancel_run          int,
            ADD COLUMN cancel_requested_at timestamptz,
            ADD COLUMN deleted_at          timestamptz,
            ADD COLUMN history             jsonb  NOT NULL DEFAULT '{}',
            ADD COLUMN requests_offset     bigint NOT NULL DEFAULT 0,
            ADD COLUMN events_offset       bigint NOT NULL DEFAULT 0
        """
    )
    # A tombstone keeps nothing but whose job it was and when it was deleted.
    for column in _EMPTY_IN_A_TOMBSTONE:
        op.execute(f"ALTER TABLE jobs ALTER COLUMN {column} DROP NOT NULL")
    op.execute(
        f"""
        ALTER TABLE jobs ADD CONSTRAINT tombstone_or_whole CHECK (
            num_nulls({", ".join(_EMPTY_IN_A_TOMBSTONE)})
            = CASE WHEN deleted_at IS NULL THEN 0 ELSE {len(_EMPTY_IN_A_TOMBSTONE)} END
        )
        """
    )
    op.execute("DROP INDEX jobs_of_tenant")
    # One index per kind of listing, so that a page is read without looking at what isn't in it.
    # A listing by type alone merges one stream per status.
    for name, columns in {
        "jobs_of_tenant": "tenant, job_id DESC",
        "jobs_of_type": "tenant, report_type, status, job_id DESC",
        "jobs_of_status": "tenant, status, job_id DESC",
    }.items():
        op.execute(f"CREATE INDEX {name} ON jobs ({columns}) WHERE deleted_at IS NULL")
    op.execute(
        """
        CREATE TABLE watermark (
            is_the_one_row boolean     PRIMARY KEY DEFAULT true CHECK (is_the_one_row),
            purged_before  timestamptz NOT NULL
        )
        """
    )
    op.execute("INSERT INTO watermark (purged_before) VALUES ('1970-01-01Z')")
    # The log is folded once more over the rows that are there: they lack what the columns are for.
    op.execute("DELETE FROM positions")


def downgrade() -> None:
    op.execute("DROP TABLE watermark")
    op.execute("DELETE FROM jobs WHERE deleted_at IS NOT NULL")
    op.execute("DROP INDEX jobs_of_type, jobs_of_status, jobs_of_tenant")
    op.execute("ALTER TABLE jobs DROP CONSTRAINT tombstone_or_whole")
    for column in _EMPTY_IN_A_TOMBSTONE:
        op.execute(f"ALTER TABLE jobs ALTER COLUMN {column} SET NOT NULL")
    op.execute(
        """
        ALTER TABLE jobs
            DROP COLUMN progress_phase, DROP COLUMN progress_percent,
            DROP COLUMN rows_processed, DROP COLUMN rows_total,
            DROP COLUMN cancel_run, DROP COLUMN cancel_requested_at,
            DROP COLUMN deleted_at, DROP COLUMN history,
            DROP COLUMN requests_offset, DROP COLUMN events_offset
        """
    )
    op.execute("CREATE INDEX jobs_of_tenant ON jobs (tenant, job_id DESC)")
    op.execute("DELETE FROM positions")
