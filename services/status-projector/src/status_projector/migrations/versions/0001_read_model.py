"""The read model with the consumer positions."""

from alembic import op

from shared.database import positions

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(positions.CREATE_V1)
    # Updates of a row touch no indexed column: with room left in its page they touch no index.
    op.execute(
        """
        CREATE TABLE jobs (
            job_id              text COLLATE "C" PRIMARY KEY,

            description_version int[]       NOT NULL,
            description_digest  bigint      NOT NULL,
            tenant              text        NOT NULL,
            report_type         text        NOT NULL,
            format              text        NOT NULL,
            created_at          timestamptz NOT NULL,
            request             jsonb,

            execution_version   int[]       NOT NULL,
            execution_digest    bigint      NOT NULL,
            run                 int         NOT NULL
                                GENERATED ALWAYS AS (execution_version[1]) STORED,
            attempt             int         NOT NULL
                                GENERATED ALWAYS AS (execution_version[3]) STORED,
            status              text        NOT NULL
                                CHECK (status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED')),
            updated_at          timestamptz NOT NULL,
            started_at          timestamptz,
            finished_at         timestamptz,
            error_code          text,
            error_message       text,
            retryable           boolean,
            artifact_path       text,
            file_name           text,
            media_type          text,
            byte_count          bigint,
            sha256              text,
            row_count           bigint,

            webhook_version     int[],
            webhook_digest      bigint,
            webhook_status      text CHECK (webhook_status IN ('DELIVERED', 'EXHAUSTED')),
            webhook_attempts    int,
            webhook_updated_at  timestamptz
        ) WITH (fillfactor = 70)
        """
    )
    op.execute("CREATE INDEX jobs_of_tenant ON jobs (tenant, job_id DESC)")


def downgrade() -> None:
    op.execute("DROP TABLE jobs, positions")
