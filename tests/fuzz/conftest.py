"""No fuzzed parser may take more than 200 MB."""

import resource
from collections.abc import Iterator

import pytest

MOST_BYTES = 200_000_000


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(autouse=True)
def small_memory() -> Iterator[None]:
    """The process's peak may grow by the limit at most, imports of the first use apart."""
    import pandas  # noqa: F401
    import scipy.io
    import torch

    assert scipy.io
    assert torch
    before = peak_bytes()
    yield
    assert peak_bytes() - before < MOST_BYTES
