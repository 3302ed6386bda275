"""Work that many readers ask for, done once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Shared"]

Made = TypeVar("Made")


class Shared(Generic[Made]):
    """Remembers the last things made; readers that ask for the same at the same time share the work.

    One thing is made at a time: a page with many readers takes one core at most.

    Parameters
    ----------
    size
        Things remembered.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._made: OrderedDict[Hashable, Made] = OrderedDict()
        self._making = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` returned for an equal `key`, or returns now."""
        with self._making:
            if key not in self._made:
                self._made[key] = make()
                if len(self._made) > self._size:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            return self._made[key]
