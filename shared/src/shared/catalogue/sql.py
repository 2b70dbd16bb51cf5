"""Named parameters in an operator's SQL: where they stand, and the statement with values in place.

A small lexer rather than a regular expression over the whole text, because `:name` means nothing
inside string literals, dollar quotes, quoted identifiers and comments, and `::` is a cast.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


class SqlTemplateError(ValueError):
    """The SQL text can't be used as a report's query; `line` counts from 1 within the text."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A named parameter's place in the text."""

    name: str


@dataclass(frozen=True, slots=True)
class SqlTemplate:
    """One query in pieces: text to keep as it is, and placeholders between."""

    pieces: tuple[str | Placeholder, ...]

    @property
    def parameter_names(self) -> frozenset[str]:
        """The distinct names of the placeholders."""
        return frozenset(piece.name for piece in self.pieces if isinstance(piece, Placeholder))

    def render(self, expressions: Mapping[str, str]) -> str:
        """Put an SQL expression in each placeholder's place, in parentheses of its own."""
        return "".join(
            piece if isinstance(piece, str) else f"({expressions[piece.name]})"
            for piece in self.pieces
        )


_TOKEN = re.compile(
    r"""
      (?P<line_comment> --[^\n]* )
    | (?P<block_comment> /\* )
    | (?P<escape_string> [eE]'(?:[^'\\]|\\.|'')*'(?:\s*\n\s*'(?:[^'\\]|\\.|'')*')* )
    | (?P<unterminated_escape> [eE]' )
    | (?P<string> '(?:[^']|'')*' )
    | (?P<quoted_identifier> "(?:[^"]|"")*" )
    | (?P<dollar_quote> \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
    | (?P<positional> \$\d+ )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<number> \d[\w.]* )
    | (?P<cast> :: | := )
    | (?P<placeholder> :(?P<name>[^\W\d]\w*) )
    | (?P<end> ; )
    | (?P<space> \s+ )
    | (?P<unterminated> ['"] | \$(?:[^\W\d]\w*)?\$ )
    | (?P<symbol> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_INSIGNIFICANT = {"line_comment", "block_comment", "space"}
_BLOCK_COMMENT_EDGE = re.compile(r"/\*|\*/")
_QUERY_WORDS = {"select", "with", "values", "table"}


def parse_sql(text: str) -> SqlTemplate:
    """Read one query; raise `SqlTemplateError` for what can't run as a report's query.

    A trailing `;` is dropped. A second statement, a `$1`, an unfinished literal or comment and a
    statement that isn't a query are refused.
    """
    pieces: list[str | Placeholder] = []
    position, kept_from, ended_at, first_word = 0, 0, None, None
    while position < len(text):
        kind, end, name = _next_token(text, position)
        if kind not in _INSIGNIFICANT and kind != "end":
            if ended_at is not None:
                raise _error("holds more than one statement", text, position)
            first_word = first_word or text[position:end]
        if kind == "placeholder":
            pieces += (text[kept_from:position], Placeholder(name))
            kept_from = end
        if kind == "end" and ended_at is None:
            ended_at = position
        position = end
    _require_query(first_word, text)
    pieces.append(text[kept_from:ended_at])
    return SqlTemplate(tuple(piece for piece in pieces if piece))


def _next_token(text: str, position: int) -> tuple[str, int, str]:
    """Kind, end and placeholder name of the token at `position`."""
    match = _TOKEN.match(text, position)
    if match is None or match.lastgroup is None:  # pragma: no cover - the last branch takes any
        raise _error("can't be read", text, position)
    kind = next(key for key, value in match.groupdict().items() if value is not None)
    if kind == "block_comment":
        return kind, _block_comment_end(text, position), ""
    if kind.startswith("unterminated"):
        raise _error(f"a quote opened with {match[0]} is never closed", text, position)
    if kind == "positional":
        raise _error(f"{match[0]} is not a parameter; write :name", text, position)
    if match[0] == "\0":
        raise _error("holds a NUL character", text, position)
    return kind, match.end(), match["name"] or ""


def _block_comment_end(text: str, position: int) -> int:
    """Where the comment that starts at `position` ends; PostgreSQL's comments nest."""
    depth = 0
    for edge in _BLOCK_COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise _error("a comment opened with /* is never closed", text, position)


def _require_query(first_word: str | None, text: str) -> None:
    if first_word is None:
        raise _error("is empty", text, 0)
    if first_word != "(" and first_word.lower() not in _QUERY_WORDS:
        raise _error(f"must be a query (SELECT or WITH), not {first_word}", text, 0)


def _error(reason: str, text: str, position: int) -> SqlTemplateError:
    return SqlTemplateError(reason, text.count("\n", 0, position) + 1)
