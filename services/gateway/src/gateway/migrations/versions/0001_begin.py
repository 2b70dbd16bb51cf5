"""Begin the history of the schema `gateway`, which holds no tables yet.

So `migrate` and readiness treat all services alike from the first day.
"""

revision = "0001"
down_revision = None


def upgrade() -> None:
    pass
