"""The queue with its leases, the consumer positions and the outbox."""

from alembic import op

from shared import outbox
from shared.database import positions

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(positions.CREATE_V1)
    op.execute(outbox.CREATE_V1)
    op.execute(
        """
        CREATE TABLE runs (
            job_id      text COLLATE "C" NOT NULL,
            run         int              NOT NULL,
            tenant      text             NOT NULL,
            created_at  timestamptz      NOT NULL,
            report_type text             NOT NULL,
            format      text             NOT NULL,
            request     text,
            traceparent text,
            state       text             NOT NULL
                        CHECK (state IN ('queued', 'running', 'ended')),
            run_at      timestamptz      NOT NULL DEFAULT now(),
            attempt     int              NOT NULL DEFAULT 0,
            failures    int              NOT NULL DEFAULT 0,
            losses      int              NOT NULL DEFAULT 0,
            token       uuid,
            lease_until timestamptz,
            started_at  timestamptz,
            PRIMARY KEY (job_id, run),
            CHECK ((state = 'running') = (token IS NOT NULL)),
            CHECK (state = 'ended' OR request IS NOT NULL)
        )
        """
    )
    op.execute("CREATE INDEX runs_queued ON runs (tenant, run_at, job_id) WHERE state = 'queued'")
    op.execute("CREATE INDEX runs_running ON runs (tenant) WHERE state = 'running'")


def downgrade() -> None:
    op.execute("DROP TABLE runs, outbox, positions")
