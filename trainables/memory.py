"""The C library's ways with freed memory."""

import ctypes

#: Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Blocks below this come from memory that was freed before; glibc takes up to 32 MiB by itself.
_KEPT_BYTES = 1 << 30
_NEVER_TRIM = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have this process keep what it frees: the next training step asks for the same again.

    glibc returns large blocks at once, and the kernel clears each of their pages anew when they
    come back: up to a quarter of a step's time on a CPU. The process then holds the most that it
    has needed until it ends.

    Returns:
        Whether the C library knows how; others (macOS, musl) stay as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    set_both = mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES), mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)
    return all(set_both)
