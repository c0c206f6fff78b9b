"""Work on arrays in parts, by as many threads as torch has."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import torch
from numpy.typing import NDArray

#: Of the largest array; less is done before a second thread has woken.
THREADED_BYTES = 1 << 20
#: Equal parts a thread: the one that calls takes more of them while others wake.
PARTS_A_THREAD = 2


def in_parts(work: Callable[..., Any], *arrays_N: NDArray[Any]) -> None:
    """Call `work` on parts of the arrays' first axis, side by side; it should free the GIL.

    torch's own threads would share out single operations, and meet again after each.
    """
    large = max(array.nbytes for array in arrays_N) >= THREADED_BYTES
    n_threads = torch.get_num_threads() if large else 1
    if n_threads == 1:
        work(*arrays_N)
        return
    n, n_parts = len(arrays_N[0]), PARTS_A_THREAD * n_threads
    parts = iter([slice(n * k // n_parts, n * (k + 1) // n_parts) for k in range(n_parts)])

    def take() -> None:
        for part in parts:
            work(*(array[part] for array in arrays_N))

    pool = _pool(n_threads - 1, os.getpid())
    others = [pool.submit(take) for _ in range(n_threads - 1)]
    try:
        take()
    finally:
        deque(parts, maxlen=0)  # after a fault here nobody begins another
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()


@cache
def _pool(n_threads: int, _process: int) -> ThreadPoolExecutor:
    """One a process: a fork takes the pool over, but not its threads."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="parts")
