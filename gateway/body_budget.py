"""How much memory the bodies of requests may take together while they are read and decoded."""

from actors.errors import TooManyBodies


class BodyBudget:
    """The bytes of one gateway worker; whoever takes some gives them back."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """How much is taken."""
        return self._taken_bytes

    def take(self, n_bytes: int) -> None:
        """Take some.

        Raises:
            TooManyBodies: there is not so much left.
        """
        if self._taken_bytes + n_bytes > self._max_bytes:
            raise TooManyBodies(self._max_bytes)
        self._taken_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Give back what was taken."""
        self._taken_bytes -= n_bytes
