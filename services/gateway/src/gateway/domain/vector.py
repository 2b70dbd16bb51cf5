"""How far the two topics are folded into what is shown of a job: its version for clients."""

import re
from dataclasses import dataclass
from typing import Final

_SPELLING: Final = re.compile(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Vector:
    """The next offsets after the newest record of a job in the requests and the events topic.

    The same log gives the same vectors, so they outlive a rebuild of the read model. They are
    ordered component by component: of two states, neither may be the newer one.
    """

    requests: int = 0
    events: int = 0

    def __str__(self) -> str:
        """Return it as SSE ids and entity tags spell it: `3-17`."""
        return f"{self.requests}-{self.events}"

    @classmethod
    def parse(cls, text: str) -> "Vector | None":
        """Return the vector that `text` spells, None where it spells none."""
        found = _SPELLING.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None

    def covers(self, other: "Vector") -> bool:
        """Tell whether all that is in `other` is in this one too."""
        return self.requests >= other.requests and self.events >= other.events

    def is_beyond(self, other: "Vector") -> bool:
        """Tell whether this covers `other` and more."""
        return self != other and self.covers(other)
