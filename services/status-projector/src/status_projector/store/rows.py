"""Turns states into rows and back."""

import json
from operator import attrgetter
from typing import Final

from asyncpg import Record

from status_projector.domain import (
    AnyState,
    Cancellation,
    Description,
    Execution,
    JobState,
    Status,
    Tombstone,
    Vector,
    Webhook,
    WebhookStatus,
    spell,
)
from status_projector.store.sql import COLUMNS, DESCRIPTION, EXECUTION

_description_values: Final = attrgetter(*DESCRIPTION)
_execution_values: Final = attrgetter(*EXECUTION)
_NO_WEBHOOK: Final = (None,) * 5
_NO_CANCELLATION: Final = (None, None)


def values(state: AnyState) -> tuple[object, ...]:
    """Return a row's values in the order of `COLUMNS`."""
    if isinstance(state, Tombstone):
        return _tombstone_values(state)
    description, execution, webhook = state.description, state.execution, state.webhook
    return (
        state.job_id,
        _array(description.version),
        description.digest,
        *_description_values(description),
        _array(execution.version),
        execution.digest,
        *_execution_values(execution),
        *(_NO_WEBHOOK if webhook is None else _webhook_values(webhook)),
        *(state.cancellation or _NO_CANCELLATION),
        None,
        "{" + ",".join(f'"{key}":{fact}' for key, fact in state.history.items()) + "}",
        *state.vector,
    )


def state(row: Record) -> AnyState:
    """Return the state that a row holds."""
    vector = Vector(row["requests_offset"], row["events_offset"])
    if row["deleted_at"] is not None:
        return Tombstone(
            job_id=row["job_id"],
            tenant=row["tenant"],
            deleted_at=row["deleted_at"],
            vector=vector,
        )
    return JobState(
        job_id=row["job_id"],
        description=Description(
            version=tuple(row["description_version"]), **{name: row[name] for name in DESCRIPTION}
        ),
        execution=Execution(
            version=tuple(row["execution_version"]),
            **{name: row[name] for name in EXECUTION} | {"status": Status(row["status"])},
        ),
        cancellation=_cancellation(row),
        webhook=_webhook(row),
        history={key: spell(fact) for key, fact in json.loads(row["history"]).items()},
        vector=vector,
    )


def _tombstone_values(tombstone: Tombstone) -> tuple[object, ...]:
    kept = {
        "job_id": tombstone.job_id,
        "tenant": tombstone.tenant,
        "deleted_at": tombstone.deleted_at,
        "history": "{}",
        "requests_offset": tombstone.vector.requests,
        "events_offset": tombstone.vector.events,
    }
    return tuple(kept.get(column) for column in COLUMNS)


def _webhook_values(webhook: Webhook) -> tuple[object, ...]:
    return (
        _array(webhook.version),
        webhook.digest,
        webhook.status,
        webhook.attempts,
        webhook.updated_at,
    )


def _array(version: tuple[int, ...]) -> str:
    return "{" + ",".join(map(str, version)) + "}"


def _cancellation(row: Record) -> Cancellation | None:
    if row["cancel_run"] is None:
        return None
    return Cancellation(row["cancel_run"], row["cancel_requested_at"])


def _webhook(row: Record) -> Webhook | None:
    if row["webhook_version"] is None:
        return None
    return Webhook(
        version=tuple(row["webhook_version"]),
        status=WebhookStatus(row["webhook_status"]),
        attempts=row["webhook_attempts"],
        updated_at=row["webhook_updated_at"],
    )
