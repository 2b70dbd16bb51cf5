"""Pure decisions: what events say of a job, and how that is joined."""

from status_projector.domain.folding import fold, join_all, state_of
from status_projector.domain.state import (
    Description,
    Execution,
    JobState,
    Status,
    Webhook,
    WebhookStatus,
)

__all__ = [
    "Description",
    "Execution",
    "JobState",
    "Status",
    "Webhook",
    "WebhookStatus",
    "fold",
    "join_all",
    "state_of",
]
