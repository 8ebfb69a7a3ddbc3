"""Keeps the C library from hoarding memory.

A server runs each request on threads of its own and passes arrays of seconds
of sound between them. glibc then opens an arena per thread and, once a long
array was freed, takes the next ones from arenas too, where what is freed
between two living things is kept: 200 MB in 20 minutes of four conversations.
"""

import ctypes
import sys

#: Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: What is longer is given back as soon as it is freed, bytes. glibc's own first value,
#: which it raises to 32 MB by and by unless it is set.
LONG = 128 * 1024
#: Threads beyond so many share arenas.
ARENAS = 4


def settle() -> bool:
    """Set up malloc; to be called before other threads begin. False: this is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    # musl has no mallopt.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_TRIM_THRESHOLD, LONG), (_MMAP_THRESHOLD, LONG), (_ARENA_MAX, ARENAS))
    taken = [mallopt(ctypes.c_int(name), ctypes.c_int(value)) for name, value in wanted]
    return all(taken)
