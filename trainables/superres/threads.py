"""Independent pieces of work side by side, one CPU thread each.

torch's own threads share out single operations; here the operations are small, and whole pieces
in parallel are several times faster. The results do not depend on the number of threads.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Made = TypeVar("Made")


def side_by_side(
    work: Callable[[Piece], Made], pieces: Iterable[Piece], device: torch.device
) -> Iterator[Made]:
    """Yield `work` of every piece in order; on a GPU, and inside such work, one after another."""
    if device.type != "cpu" or torch.get_num_threads() == 1:
        yield from map(work, pieces)
        return
    with _one_thread_each() as n_workers, ThreadPoolExecutor(n_workers) as pool:
        yield from pool.map(work, pieces)


@contextmanager
def _one_thread_each() -> Iterator[int]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads made from here on take this over
    try:
        yield n_threads
    finally:
        torch.set_num_threads(n_threads)
