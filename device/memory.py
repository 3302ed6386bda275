"""Memory given back: the C library's ways with large arrays, set for a process that makes and drops many all night."""

import ctypes

__all__ = ["give_memory_back"]

# mallopt(3), of glibc.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 16 * 2**20


def give_memory_back() -> None:
    """Have the pictures of a stack given back to the system as soon as they are dropped.

    By itself glibc learns from the first of them to keep such memory, in a pool for each thread, where it falls to
    pieces. Smaller arrays stay in one pool: getting them afresh with every frame costs more than it saves. Elsewhere
    than on glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 1)
