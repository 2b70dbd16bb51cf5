"""Pure decisions: what events say of a job, and how that is joined."""

from status_projector.domain.folding import LoggedEvent, fold, join_all, state_of
from status_projector.domain.history import Fact, spell
from status_projector.domain.state import (
    NOWHERE,
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
)

__all__ = [
    "NOWHERE",
    "AnyState",
    "Cancellation",
    "Description",
    "Execution",
    "Fact",
    "JobState",
    "LoggedEvent",
    "Status",
    "Tombstone",
    "Vector",
    "Webhook",
    "WebhookStatus",
    "fold",
    "join_all",
    "spell",
    "state_of",
]
