"""A request's values as SQL literals, for COPY takes no bound parameters."""

from shared.catalogue import Binding


def literal(binding: Binding) -> str:
    """Write a value as a literal of its declared type.

    Every value stands as a quoted string: a number can't begin with a sign that way, and the
    server reads each as it reads a bound one.
    """
    return f"{_quoted(binding.value)}::{binding.type_name}"


def _quoted(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_quoted, value))}]"
    if isinstance(value, bool):
        return "'true'" if value else "'false'"
    return _quoted_text(str(value))


def _quoted_text(text: str) -> str:
    """Quote as the server's own quote_literal does.

    A backslash is written as an escape, so that it means the same under either setting of
    standard_conforming_strings. NUL, which PostgreSQL's text can't hold, never gets here.
    """
    doubled = text.replace("'", "''")
    if "\\" not in doubled:
        return f"'{doubled}'"
    escaped = doubled.replace("\\", "\\\\")
    return f"E'{escaped}'"
