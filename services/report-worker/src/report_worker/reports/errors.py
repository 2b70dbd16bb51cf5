"""Why a report could not be made: a code, words for people, and whether to try again."""

import errno
import re
from collections.abc import Sequence
from enum import StrEnum

import asyncpg

from shared.report_request import ReportFormat


class ErrorCode(StrEnum):
    """Codes that clients see in a failed job's `errorCode`."""

    GENERATION_FAILED = "REPORT_GENERATION_FAILED"
    TOO_LARGE = "REPORT_TOO_LARGE"
    TIMED_OUT = "TIMED_OUT"
    REQUEST_REJECTED = "REQUEST_REJECTED"


class ReportError(Exception):
    """A report could not be made.

    `code` is one of `ErrorCode`, or a plugin's own. `message` is for clients: it never holds SQL,
    addresses or credentials. The cause, chained to the error, is for the log. A transient error may
    be gone at the next attempt.
    """

    def __init__(self, code: str, message: str, *, transient: bool) -> None:
        super().__init__(code, message, transient)
        self.code = code
        self.message = message
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def reason(self) -> str:
        """What caused it, for the log."""
        return repr(self.__cause__)


class StoreError(ReportError):
    """The report's file could not be stored."""

    @property
    def reason(self) -> str:
        """The class and the number alone: a store's error may quote what it was sent."""
        number = _store_number(self.__cause__)
        return type(self.__cause__).__name__ + ("" if number is None else f" {number}")


def source_unavailable() -> ReportError:
    """The data source can't be reached, or went away."""
    return ReportError(
        ErrorCode.GENERATION_FAILED, "Downstream data source unavailable.", transient=True
    )


def store_unavailable(error: BaseException) -> ReportError:
    """The artifact store can't be reached, is full, or refuses the file."""
    return StoreError(
        ErrorCode.GENERATION_FAILED,
        f"The report's file could not be stored: {_store_problem(error)}.",
        transient=True,
    )


# A store's errors tell their kind in their text alone: what is a class when a part is written is a
# plain OSError when the upload is completed.
_STORE_PROBLEM = re.compile(r"\(os error (?P<os>\d+)\)|status code: (?P<http>\d{3})")
_STORE_PROBLEMS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, 507), "the artifact store is full"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, 401, 403), "the artifact store refuses access"
    ),
    404: "there is no such artifact store",
}


def _store_problem(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the artifact store didn't answer in time"
    return _STORE_PROBLEMS.get(_store_number(error) or 0, "the artifact store is unavailable")


def _store_number(error: BaseException | None) -> int | None:
    """The number of the operating system's error, or the status of the store's answer."""
    found = _STORE_PROBLEM.search(str(error))
    return int(found["os"] or found["http"]) if found else getattr(error, "errno", None)


def query_failed() -> ReportError:
    """The data source understood the query and refused it: the catalogue's file is wrong."""
    return ReportError(
        ErrorCode.GENERATION_FAILED,
        "The data source refused this report type's query. Its operator finds why in the log.",
        transient=False,
    )


def rows_interrupted() -> ReportError:
    """The data source said something else between the rows: the driver may have lost some."""
    return ReportError(
        ErrorCode.GENERATION_FAILED,
        "This report type's query sends messages (such as RAISE INFO) among its rows, so that rows"
        " could be missing. Its operator has to remove them.",
        transient=False,
    )


def declared_wrongly(report_type: str, reason: str) -> ReportError:
    """The catalogue's file says one thing about the query's columns, the data source another."""
    return ReportError(
        ErrorCode.GENERATION_FAILED,
        f"Report type {report_type} is declared wrongly: {reason}.",
        transient=False,
    )


def query_timed_out(limit_seconds: float) -> ReportError:
    """The query took longer than its type allows."""
    return ReportError(
        ErrorCode.TIMED_OUT,
        f"The report took longer than the {_duration(limit_seconds)} that its type allows. "
        "Ask for a shorter date range.",
        transient=False,
    )


def too_many_rows(
    limit_rows: int, file_format: ReportFormat, offered: Sequence[ReportFormat]
) -> ReportError:
    """The report has more rows than its format takes."""
    return _too_large(
        f"The report has more than the {limit_rows:,} rows that {_NAMES[file_format]} may have.",
        file_format,
        offered,
    )


def text_too_long(limit_characters: int, offered: Sequence[ReportFormat]) -> ReportError:
    """A text of the report is longer than a workbook's cell takes."""
    return _too_large(
        f"The report has a text of more than the {limit_characters:,} characters that a cell of"
        " an XLSX file may have.",
        ReportFormat.XLSX,
        offered,
    )


def workbook_too_large(offered: Sequence[ReportFormat]) -> ReportError:
    """The report is larger than a workbook can be."""
    return _too_large("The report is larger than an XLSX file may be.", ReportFormat.XLSX, offered)


_NAMES = {ReportFormat.PDF: "a PDF", ReportFormat.XLSX: "an XLSX file"}
_WITHOUT_LIMITS = (ReportFormat.CSV, ReportFormat.JSON, ReportFormat.NDJSON)


def _too_large(
    message: str, file_format: ReportFormat, offered: Sequence[ReportFormat]
) -> ReportError:
    """Advise the formats that surely do; a workbook, which takes more than a PDF, where none do."""
    others = [one for one in offered if one in _WITHOUT_LIMITS] or [
        one for one in offered if one is ReportFormat.XLSX and one is not file_format
    ]
    advice = (
        f"Ask for it as {_either(others)}, or for a shorter date range."
        if others
        else "Ask for a shorter date range."
    )
    return ReportError(ErrorCode.TOO_LARGE, f"{message} {advice}", transient=False)


def _either(formats: Sequence[ReportFormat]) -> str:
    *first, last = formats
    return f"{', '.join(first)} or {last}" if first else str(last)


# Connection lost (08), no resources (53), shutting down or starting (57P), rolled back for another
# session's sake (40), bad credentials or database (28, 3D: somebody is about to correct them).
_TRANSIENT_SQLSTATES = ("08", "53", "57P", "40", "28", "3D", "58")
_QUERY_CANCELED = "57014"


def from_source_error(
    error: BaseException, *, ran_seconds: float, limit_seconds: float
) -> ReportError:
    """Judge an error of the data source's driver.

    A canceled query is a time limit when it ran for about that long; else somebody canceled it. So
    is our own limit on the whole of it: one that ends earlier is a source that doesn't answer.
    """
    if isinstance(error, TimeoutError) and ran_seconds >= limit_seconds:
        return query_timed_out(limit_seconds)
    if not isinstance(error, asyncpg.PostgresError):
        return source_unavailable()
    sqlstate = error.sqlstate or ""
    if sqlstate == _QUERY_CANCELED:
        reached = ran_seconds >= limit_seconds * 0.9
        return query_timed_out(limit_seconds) if reached else source_unavailable()
    if sqlstate.startswith(_TRANSIENT_SQLSTATES):
        return source_unavailable()
    return query_failed()


def _duration(seconds: float) -> str:
    if seconds >= 120:  # noqa: PLR2004 - two minutes and more read better in minutes
        return f"{seconds / 60:g} minutes"
    return "second" if seconds == 1 else f"{seconds:g} seconds"
