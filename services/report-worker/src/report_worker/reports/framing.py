"""From the bytes of a server-side COPY to the bytes of the file, batch by batch."""

from typing import Protocol

_NUL = b"\0"
"""PostgreSQL's text can't hold it, so it never stands in the bytes of a COPY."""


class Framing(Protocol):
    """Turns COPY's output into a file format; batches may end anywhere."""

    @property
    def rows(self) -> int:
        """Rows that have ended so far, the header not among them."""

    def frame(self, batch: bytes) -> bytes:
        """Give the file's next bytes."""

    def finish(self) -> bytes:
        """Give the file's last bytes."""


class CsvFraming:
    """RFC 4180 ends each record with CRLF, COPY with LF; LF inside quotes belongs to the cell."""

    def __init__(self) -> None:
        self._inside_quotes = False
        self.rows = -1  # the first record is the header

    def frame(self, batch: bytes) -> bytes:
        """Replace the line ends outside of quotes.

        Every second piece between quotes lies outside (a doubled quote leaves and enters again),
        and the pieces outside are joined to be searched at once.
        """
        pieces = batch.split(b'"')
        first_outside = 1 if self._inside_quotes else 0
        outside = _NUL.join(pieces[first_outside::2])
        replaced = outside.replace(b"\n", b"\r\n")
        self.rows += len(replaced) - len(outside)
        if len(pieces) == 1:
            return batch if self._inside_quotes else replaced
        pieces[first_outside::2] = replaced.split(_NUL)
        self._inside_quotes ^= len(pieces) % 2 == 0
        return b'"'.join(pieces)

    def finish(self) -> bytes:
        """Every record has its end already."""
        return b""


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


class JsonArrayFraming:
    """One object per line, and commas and brackets around; JSON text has no raw line ends."""

    def __init__(self) -> None:
        self._is_empty = True
        self._held_back = b""
        self.rows = 0

    def frame(self, batch: bytes) -> bytes:
        """Put a comma after each row that another one follows."""
        self.rows += batch.count(b"\n")
        opening = b"[\n" if self._is_empty and batch else b""
        self._is_empty = self._is_empty and not batch
        rows = self._held_back + batch
        self._held_back = b"\n" if rows.endswith(b"\n") else b""
        return opening + rows.removesuffix(b"\n").replace(b"\n", b",\n")

    def finish(self) -> bytes:
        """Close the array."""
        return b"[]\n" if self._is_empty else b"\n]\n"
