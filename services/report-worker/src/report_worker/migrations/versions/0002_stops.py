"""Runs that are cancelled, deleted or expire, and the artifact that a run ended with."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Runs from before have no limit for their wait, nor have those that a worker of the version
    # before still takes in.
    op.execute(
        """
        ALTER TABLE runs
            ADD COLUMN start_by            timestamptz NOT NULL DEFAULT 'infinity',
            ADD COLUMN cancel_requested_at timestamptz,
            ADD COLUMN deleted_at          timestamptz,
            ADD COLUMN artifact_path       text
        """
    )
    op.execute(
        """
        CREATE INDEX runs_unstarted ON runs (start_by)
        WHERE state = 'queued' AND started_at IS NULL
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX runs_unstarted")
    op.execute(
        """
        ALTER TABLE runs
            DROP COLUMN start_by,
            DROP COLUMN cancel_requested_at,
            DROP COLUMN deleted_at,
            DROP COLUMN artifact_path
        """
    )
