"""What a process has heard of the queue, so that it needn't ask."""


class Hearsay:
    """Whether runs may be waiting that this process didn't claim.

    They may until a claim finds fewer than it has room for, and again as soon as anybody tells of
    one. Whoever is wrong about it is so for a beat at most: each beat claims whatever was heard.
    """

    def __init__(self) -> None:
        self._rumours = 0
        self._is_quiet = False

    @property
    def is_quiet(self) -> bool:
        """Whether no run is known to wait."""
        return self._is_quiet

    @property
    def rumours(self) -> int:
        """How often runs were said to wait; to be handed to `learn` by who then looked."""
        return self._rumours

    def hear(self) -> None:
        """Note that runs wait."""
        self._rumours += 1
        self._is_quiet = False

    def learn(self, *, is_any_left: bool, rumours: int) -> None:
        """Note what a look found, unless something was heard since it began."""
        if rumours == self._rumours:
            self._is_quiet = not is_any_left
