"""How far a report has come: told by the code that makes it, sampled for whoever watches."""

from dataclasses import dataclass

from shared.events import Progress

_LAST_PERCENT = 99
"""A hundred is for the report that is there."""


@dataclass(slots=True)
class _Phase:
    name: str
    rows_total: int | None
    starts_at: int
    ends_at: int
    rows: int | None = None


class ProgressReporter:
    """What report code tells how far it is, from whichever thread it runs in.

    Each phase has its share of the hundred percent: from where the one before ended to `until`.
    Telling costs an assignment; nobody is called, and nothing is sent. Somebody else looks at
    `newest` now and then, and sees a percentage that never goes back.
    """

    def __init__(self) -> None:
        self._phase: _Phase | None = None
        self._percent: int | None = None

    def phase(
        self, name: str, *, rows_total: int | None = None, until: int = _LAST_PERCENT
    ) -> None:
        """Begin a phase, such as query, typeset or upload, that lasts `until` so many percent."""
        starts_at = self._phase.ends_at if self._phase else 0
        ends_at = min(max(starts_at, until), _LAST_PERCENT)
        self._phase = _Phase(name, rows_total, starts_at, ends_at)

    def rows(self, processed: int) -> None:
        """Say how many rows the phase has done so far."""
        if self._phase is not None:
            self._phase.rows = processed

    def expect(self, rows_total: int, *, phase: str) -> None:
        """Say how many rows a phase will have, if it still goes on; may be an estimate."""
        if self._phase is not None and self._phase.name == phase:
            self._phase.rows_total = rows_total

    @property
    def newest(self) -> Progress | None:
        """What was told last; None before the first phase."""
        phase = self._phase
        if phase is None:
            return None
        rows, total = phase.rows, phase.rows_total
        if total is not None and (rows or 0) > total:
            total = None  # an estimate that was overtaken is none
        self._percent = _not_before(self._percent, _percent(phase))
        return Progress(
            phase=phase.name, percent=self._percent, rows_processed=rows, rows_total=total
        )


def _percent(phase: _Phase) -> int | None:
    """None where neither the rows nor the phases before say anything."""
    if phase.rows is None or not phase.rows_total:
        return phase.starts_at or None
    share = min(phase.rows / phase.rows_total, 1.0)
    return phase.starts_at + int((phase.ends_at - phase.starts_at) * share)


def _not_before(earlier: int | None, percent: int | None) -> int | None:
    if earlier is None or percent is None:
        return earlier if percent is None else percent
    return max(earlier, percent)
