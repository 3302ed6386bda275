"""Trying again: ever more slowly, said once, and not for ever where only the user can help."""

import logging
import random
import time
from collections import deque
from collections.abc import Callable

from edgegal.errors import InputError

__all__ = ["Retry"]

_log = logging.getLogger(__name__)

_HOPELESS_TRIES = 5
_HOPELESS_WITHIN_S = 60.0


class Retry:
    """How long to wait after each failure of one source.

    The wait doubles with each failure in a row, up to a cap, less up to half of it by chance, so that many clients of
    a server that restarts do not come back all at once.

    Parameters
    ----------
    name
        The source, for the log.
    first_s, most_s
        Longest first wait, and longest of all, seconds.
    clock
        Seconds that only grow.
    """

    def __init__(
        self, name: str, first_s: float = 1.0, most_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._first_s = first_s
        self._most_s = most_s
        self._clock = clock
        self._chance = random.Random()
        self._failures = 0
        self._since = 0.0
        self._hopeless: deque[float] = deque(maxlen=_HOPELESS_TRIES)

    def failed(self, error: OSError | InputError) -> float:
        """Seconds to wait before the next try.

        Raises
        ------
        InputError
            The given one, after five such within a minute: what only the user can mend is not tried for ever.
        """
        now = self._clock()
        if isinstance(error, InputError):
            self._hopeless.append(now)
            if len(self._hopeless) == _HOPELESS_TRIES and now - self._hopeless[0] <= _HOPELESS_WITHIN_S:
                raise error
        if not self._failures:
            self._since = now
            _log.warning("%s is lost: %s; trying until it returns", self._name, error)
        wait = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return wait * self._chance.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """Begin anew; a return after failures is said."""
        if self._failures:
            _log.warning(
                "%s is back after %.0f s and %d tries", self._name, self._clock() - self._since, self._failures
            )
        self._failures = 0
        self._hopeless.clear()
