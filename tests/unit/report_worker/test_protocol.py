"""What the worker and its children say to each other."""

import pytest

from report_worker.execution.protocol import (
    REPLIES,
    Done,
    Failed,
    OutOfMemory,
    Progressed,
    Ready,
    Reply,
    Setup,
    Stopped,
)
from shared.events import Progress
from tests.support.report_runs import GENERATED


@pytest.mark.parametrize(
    "reply",
    [
        Ready(),
        Progressed(progress=Progress(phase="query", percent=7, rows_processed=70, rows_total=1000)),
        Done(artifact=GENERATED.artifact, row_count=7),
        Failed(code="TIMED_OUT", message="Too slow.", transient=False),
        OutOfMemory(),
        Stopped(),
    ],
)
def test_a_reply_arrives_as_it_was_sent(reply: Reply) -> None:
    assert REPLIES.validate_json(reply.model_dump_json()) == reply


def test_a_reply_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        REPLIES.validate_json(b'{"kind": "surprise"}')


def test_the_addresses_of_sources_are_not_shown() -> None:
    setup = Setup(
        memory_limit=2**30,
        catalogue=(), sources={"orders": "postgresql://u:s3cret@h/d"}, artifacts_url="file:///a",
        log_level="INFO",
    )  # fmt: skip
    assert "s3cret" not in repr(setup)
