import sys

import pytest

from tests.fuzz.changed import MOST_BYTES, in_little_memory


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted by Linux's /proc")
def test_an_example_that_takes_too_much_memory_is_noticed():
    in_little_memory(lambda: b"x" * (MOST_BYTES // 10))()
    with pytest.raises(AssertionError, match="MB of memory"):
        in_little_memory(lambda: b"x" * (2 * MOST_BYTES))()
