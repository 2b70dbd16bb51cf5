"""Which tenants this process served lately, so that tenants take turns over time, too."""

from collections.abc import Iterable, Sequence
from typing import Final

_MOST: Final = 256


class Turns:
    """Turns are told by what runs; where that is the same for all, by who was served last.

    A worker with one slot in all has nothing running when it claims: without this memory it would
    work off one tenant's queue before it looks at another's.
    """

    def __init__(self) -> None:
        self._served: dict[str, None] = {}

    @property
    def served(self) -> Sequence[str]:
        """The tenants that were served lately, the last one last."""
        return list(self._served)

    def serve(self, tenants: Iterable[str]) -> None:
        """Note that these were served."""
        for tenant in tenants:
            self._served.pop(tenant, None)
            self._served[tenant] = None
        while len(self._served) > _MOST:
            del self._served[next(iter(self._served))]
