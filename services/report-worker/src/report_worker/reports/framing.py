"""From the bytes of a server-side COPY to the bytes of the file, batch by batch."""

from itertools import accumulate, count
from operator import add
from typing import Protocol

from report_worker.reports.defusing import FormulaDefuser

_NUL = b"\0"
"""PostgreSQL's text can't hold it, so it never stands in the bytes of a COPY."""


class Framing(Protocol):
    """Turns COPY's output into a file format.

    Batches are whole records: the server sends each in a message of its own, and the driver hands
    on whole messages.
    """

    @property
    def rows(self) -> int:
        """Rows that have ended so far, the header not among them."""

    def frame(self, batch: bytes) -> bytes:
        """Give the file's next bytes."""

    def finish(self) -> bytes:
        """Give the file's last bytes."""


class CsvFraming:
    """RFC 4180 ends each record with CRLF, COPY with LF; LF inside quotes belongs to the cell."""

    def __init__(self, defuser: FormulaDefuser | None) -> None:
        self._defuser = defuser
        self.rows = -1  # the first record is the header

    def frame(self, batch: bytes) -> bytes:
        """Replace the line ends outside of quotes, and defuse formulas.

        A doubled quote leaves a cell's quotes and enters them again, with nothing in between.
        """
        if not batch:
            return b""
        pieces = batch.split(b'"')
        if len(pieces) % 2 == 0 or not batch.endswith(b"\n"):
            raise ValueError("a batch of COPY's output ends inside a record")
        records = _without_quoted_line_ends(batch, pieces)
        if self._defuser is not None:
            records = self._defuser.defuse(records, _places_between(pieces))
        replaced = records.replace(b"\n", b"\r\n")
        self.rows += len(replaced) - len(records)
        return replaced.replace(_NUL, b"\n")

    def finish(self) -> bytes:
        """Every record has its end already."""
        return b""


def _without_quoted_line_ends(batch: bytes, pieces: list[bytes]) -> bytes:
    """Put NUL in the place of each LF inside quotes, where every second of the pieces lies."""
    inside = b'"'.join(pieces[1::2])
    if b"\n" not in inside:
        return batch
    changed = pieces.copy()
    changed[1::2] = inside.replace(b"\n", _NUL).split(b'"')
    return b'"'.join(changed)


def _places_between(pieces: list[bytes]) -> list[int]:
    """Return the places of the quotes at which the pieces were split."""
    return list(map(add, accumulate(map(len, pieces[:-1])), count()))


class NdjsonFraming:
    """Newline-delimited JSON is one object per line, as COPY gives them."""

    def __init__(self) -> None:
        self.rows = 0

    def frame(self, batch: bytes) -> bytes:
        """Leave it as it is."""
        self.rows += batch.count(b"\n")
        return batch

    def finish(self) -> bytes:
        """Every line has its end already."""
        return b""


_ARRAY_START = b"[\n"
_NEXT_ROW = b",\n"


class JsonArrayFraming:
    """One object per line, and commas and brackets around; JSON text has no raw line ends."""

    def __init__(self) -> None:
        self._held_back = _ARRAY_START
        self.rows = 0

    def frame(self, batch: bytes) -> bytes:
        """Put a comma after each row that another one follows."""
        if not batch:
            return b""
        rows = batch.replace(b"\n", _NEXT_ROW)
        self.rows += len(rows) - len(batch)
        before, self._held_back = self._held_back, _NEXT_ROW if batch.endswith(b"\n") else b""
        # Gigabytes go through here: one copy less is felt.
        return b"".join((before, memoryview(rows)[: len(rows) - len(self._held_back)]))

    def finish(self) -> bytes:
        """Close the array."""
        return b"[]\n" if self._held_back == _ARRAY_START else b"\n]\n"
