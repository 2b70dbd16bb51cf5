"""How far the artifact store has been swept, and of which deleted jobs."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Which attempt made a report is known since 0002 alone: what was made before stays until it
    # expires.
    op.execute(
        """
        CREATE TABLE sweeping (
            is_only        boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
            position       text        NOT NULL DEFAULT '',
            next_at        timestamptz NOT NULL DEFAULT now(),
            remembers_from timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("INSERT INTO sweeping DEFAULT VALUES")
    op.execute("ALTER TABLE runs ADD COLUMN is_swept boolean NOT NULL DEFAULT false")
    op.execute(
        """
        CREATE INDEX runs_unswept ON runs (job_id)
        WHERE deleted_at IS NOT NULL AND NOT is_swept AND state = 'ended'
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX runs_unswept")
    op.execute("ALTER TABLE runs DROP COLUMN is_swept")
    op.execute("DROP TABLE sweeping")
