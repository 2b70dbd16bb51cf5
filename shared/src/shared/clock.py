"""The one place that reads the wall clock; everything else takes a `Clock`."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time, aware, in UTC."""


def utc_now() -> datetime:
    """Return the current time in UTC with microseconds."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock the ban points to


def rfc3339(moment: datetime) -> str:
    """Render an aware moment as RFC 3339 in UTC, always with six fractional digits and `Z`.

    The fixed width makes equal moments equal strings, and later ones sort later.
    """
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"
