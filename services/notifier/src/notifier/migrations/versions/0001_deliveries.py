"""Deliveries with their attempts and destinations, the consumer positions and the outbox."""

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
        CREATE TABLE destinations (
            id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant       text COLLATE "C" NOT NULL,
            origin       text COLLATE "C" NOT NULL,
            in_flight    int              NOT NULL DEFAULT 0 CHECK (in_flight >= 0),
            next_due_at  timestamptz,
            paused_until timestamptz,
            UNIQUE (tenant, origin)
        )
        """
    )
    op.execute(
        "CREATE INDEX destinations_due ON destinations (next_due_at) WHERE next_due_at IS NOT NULL"
    )
    op.execute(
        """
        CREATE TABLE deliveries (
            id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            event_id       uuid        NOT NULL,
            destination_id bigint      NOT NULL REFERENCES destinations,
            webhook_id     text        NOT NULL,
            url            text        NOT NULL,
            body           bytea       NOT NULL,
            job_id         text        NOT NULL,
            tenant         text        NOT NULL,
            run            int         NOT NULL,
            job_created_at timestamptz NOT NULL,
            report_type    text        NOT NULL,
            format         text        NOT NULL,
            traceparent    text,
            state          text        NOT NULL DEFAULT 'pending' CHECK (state IN
                           ('pending', 'in_flight', 'delivered', 'exhausted', 'stopped')),
            attempts       int         NOT NULL DEFAULT 0,
            created_at     timestamptz NOT NULL DEFAULT now(),
            due_at         timestamptz NOT NULL DEFAULT now(),
            started_at     timestamptz,
            token          uuid,
            lease_until    timestamptz,
            UNIQUE (event_id, destination_id),
            CHECK ((state = 'in_flight') = (token IS NOT NULL)),
            CHECK ((state = 'in_flight') = (lease_until IS NOT NULL))
        )
        """
    )
    op.execute(
        "CREATE INDEX deliveries_pending ON deliveries (destination_id, due_at, id)"
        " WHERE state = 'pending'"
    )
    op.execute(
        "CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE state = 'in_flight'"
    )
    op.execute(
        """
        CREATE TABLE attempts (
            delivery_id bigint      NOT NULL REFERENCES deliveries ON DELETE CASCADE,
            number      int         NOT NULL,
            started_at  timestamptz NOT NULL,
            ended_at    timestamptz NOT NULL DEFAULT now(),
            latency_ms  int         NOT NULL,
            error       text,
            status      int,
            detail      text        NOT NULL,
            next_due_at timestamptz,
            PRIMARY KEY (delivery_id, number)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE attempts, deliveries, destinations, outbox, positions")
