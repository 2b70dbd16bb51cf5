import io
import json
import logging
import sys

import pytest
import structlog

from shared.telemetry.logs import configure_logging

pytestmark = pytest.mark.usefixtures("own_logging")


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, write_through=True))
    configure_logging(service="test", level="INFO")
    return written


def test_a_line_is_one_json_object(stream: io.BytesIO) -> None:
    structlog.get_logger("x").info("it happened", job_id="job_1")

    line = json.loads(stream.getvalue())
    assert line["service"] == "test"
    assert line["message"] == "it happened"
    assert line["job_id"] == "job_1"
    assert line["level"] == "info"


def test_a_traceback_shows_no_local_variables(stream: io.BytesIO) -> None:
    def connect(url: str) -> None:
        raise ConnectionError("refused")

    try:
        connect("postgresql://someone:s3cret@host/db")
    except ConnectionError:
        structlog.get_logger("x").exception("connecting failed")

    assert json.loads(stream.getvalue())["exception"][0]["exc_type"] == "ConnectionError"
    assert b"s3cret" not in stream.getvalue()


def test_library_loggers_write_the_same_lines(stream: io.BytesIO) -> None:
    logging.getLogger("some.library").warning("careful: %s", "edge")

    assert json.loads(stream.getvalue())["message"] == "careful: edge"


def test_an_object_that_is_no_json_does_not_break_the_line(stream: io.BytesIO) -> None:
    structlog.get_logger("x").info("odd", thing=object())

    assert json.loads(stream.getvalue())["thing"].startswith("<object")


def test_text_that_is_not_utf_8_does_not_break_the_line(stream: io.BytesIO) -> None:
    structlog.get_logger("x").info("odd", text="half a pair: \ud800", thing=object())

    assert json.loads(stream.getvalue())["text"] == "half a pair: \ud800"


def test_a_line_below_the_level_is_not_written(stream: io.BytesIO) -> None:
    structlog.get_logger("x").debug("detail")

    assert stream.getvalue() == b""


def test_a_stream_that_fails_does_not_fail_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(Full(), write_through=True))  # type: ignore[type-var]
    configure_logging(service="test", level="INFO")
    structlog.get_logger("x").info("nowhere to go")


def test_a_stream_that_is_closed_does_not_fail_the_caller(stream: io.BytesIO) -> None:
    log = structlog.get_logger("x")
    log.info("still there")
    stream.close()
    log.info("nowhere to go")
