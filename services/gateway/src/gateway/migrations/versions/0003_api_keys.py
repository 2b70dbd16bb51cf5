"""API keys: whom each speaks for, and the hash of what it is."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE api_keys (
            key_id     text COLLATE "C" PRIMARY KEY,
            sha256     bytea       NOT NULL CHECK (length(sha256) = 32),
            tenant     text        NOT NULL CHECK (tenant <> ''),
            scopes     text[]      NOT NULL CHECK (scopes <> '{}'),
            name       text        NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            expires_at timestamptz,
            revoked_at timestamptz
        )
        """
    )
