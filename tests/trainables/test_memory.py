"""Freed memory is kept, so that a training step does not ask the kernel for it again."""

import platform
import resource
import subprocess
import sys

import pytest

MEASURE = """
import resource, sys
import torch
from trainables.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("no glibc")
def step():
    blocks = [torch.ones(48 << 20, dtype=torch.uint8) for _ in range(3)]
for _ in range(16):  # until every block has its place
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the kernel had to give in three steps of 144 MiB each."""
    command = [sys.executable, "-c", MEASURE, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_step_gets_the_memory_that_the_one_before_freed():
    a_step = (3 * 48 << 20) / resource.getpagesize()
    assert faults("keep") < a_step / 10
    assert faults("give back") > a_step
