"""Remember what each Idempotency-Key stands for: the exact event, and whether Kafka has it."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Setting acked_at touches no index, and finds room in the row's own page.
    op.execute(
        """
        CREATE TABLE idempotency_keys (
            tenant      text             NOT NULL,
            key         text COLLATE "C" NOT NULL,
            job_id      text COLLATE "C" NOT NULL,
            fingerprint bytea            NOT NULL,
            value       bytea            NOT NULL,
            headers     text             NOT NULL,
            acked_at    timestamptz,
            PRIMARY KEY (tenant, key)
        ) WITH (fillfactor = 50)
        """
    )
    # Job ids begin with their time, which is what keys expire by.
    op.execute("CREATE INDEX idempotency_keys_by_age ON idempotency_keys (job_id)")


def downgrade() -> None:
    op.execute("DROP TABLE idempotency_keys")
