"""Memory given back: the C library's ways with large arrays, set for a process that makes and drops many all night."""

import ctypes

__all__ = ["give_memory_back", "trim"]

# mallopt(3), of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 3 * 2**20
_KEPT_BYTES = 8 * 2**20


def give_memory_back() -> None:
    """Have the pictures of a stack given back to the system as soon as they are dropped.

    By itself glibc learns from the first of them to keep such memory, in a pool for each thread, where it falls to
    pieces. Smaller arrays stay in one pool, and some of what is free at its end stays there too: getting either afresh
    with every frame costs more than it saves. Elsewhere than on glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Give back what is free now, as after a start, which takes more memory than what follows."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
