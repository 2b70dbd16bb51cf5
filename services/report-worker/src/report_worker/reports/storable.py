"""Text as every database and every JSON document can hold it."""

import re
from typing import Final

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""NUL, which no database's text holds, and halves of surrogate pairs, which aren't UTF-8."""

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """Put a replacement character in the place of each that can't be stored."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)
