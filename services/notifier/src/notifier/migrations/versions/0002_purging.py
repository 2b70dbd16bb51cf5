"""An index of ended deliveries by the age of their jobs."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX deliveries_ended ON deliveries (job_id COLLATE "C")
        WHERE state IN ('delivered', 'exhausted', 'stopped')
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX deliveries_ended")
