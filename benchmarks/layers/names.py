"""Short names of operations: converters string together the scopes of all that they fused, too long to read or type."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

__all__ = ["named", "shortened"]

_PARTS = re.compile("[/;]")


def _parts(name: str) -> list[str]:
    """The scopes of a name, the innermost of its first operation first."""
    first, *fused = name.split(";")
    return [*reversed(first.split("/")), *(part for other in fused for part in reversed(other.split("/")))]


def named(word: str, operations: Iterable[str]) -> list[str]:
    """The operations that a word names: the one of that very name, else all with it as a whole scope of theirs."""
    known = list(operations)
    return [word] if word in known else [name for name in known if word in _PARTS.split(name)]


def shortened(operations: Collection[str]) -> Mapping[str, str]:
    """For each operation the innermost scope that no other has, or its whole name where there is none."""
    seen = Counter(part for name in operations for part in set(_PARTS.split(name)))
    alone = {name: [part for part in _parts(name) if seen[part] == 1 and part not in operations] for name in operations}
    return {name: next(iter(alone[name]), name) for name in operations}
