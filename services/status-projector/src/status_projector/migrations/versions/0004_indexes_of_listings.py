"""The indexes of listings run in one direction, so that rows can be compared with all of it.

A listing then asks for an order that one index alone has: see the gateway's `store/listing.py`.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_BEFORE_THE_ID = {
    "jobs_of_tenant": "tenant",
    "jobs_of_type": "tenant, report_type, status",
    "jobs_of_status": "tenant, status",
}


def upgrade() -> None:
    _make("job_id")


def downgrade() -> None:
    _make("job_id DESC")


def _make(last: str) -> None:
    for name, columns in _BEFORE_THE_ID.items():
        op.execute(f"DROP INDEX {name}")
        op.execute(f"CREATE INDEX {name} ON jobs ({columns}, {last}) WHERE deleted_at IS NULL")
