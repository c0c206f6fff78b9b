"""Valid files with a few bytes changed, cut, doubled or taken out: what a parser must survive."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.fuzz.bounds import within_bounds

#: In CI a few dozen; `F2C_FUZZ_EXAMPLES=100000` for the long run.
EXAMPLES = int(os.environ.get("F2C_FUZZ_EXAMPLES", "60"))
LONG = EXAMPLES > 1000
#: Bytes that mean something to many formats.
TELLING = (
    *(b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\n", b","),
    *(b'"', b"-1", b"9" * 30, b"nan", b"1e999", b"../", b"{", b"[" * 50, b"!!", b"&a", b"*a"),
    *(b"9" * 5000, b"\x1b[2J", b"!!int x", b"!!timestamp x", b"!!bool x", b"? [a]: b"),
)

Edit = tuple[str, float, bytes]


def fuzz(cheap: bool = True):
    """Settings of a fuzzing test; those whose one example is slow try a tenth in `make test`.

    Every example is held to the bounds of bounds.py.
    """
    chosen = settings(
        max_examples=EXAMPLES if cheap or LONG else max(EXAMPLES // 10, 20),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=not LONG,
        database=None,
        print_blob=True,
    )

    def fuzzed(test):
        test.hypothesis.inner_test = within_bounds(test.hypothesis.inner_test)
        return chosen(test)

    return fuzzed


def edits() -> st.SearchStrategy[list[Edit]]:
    """A few changes: what, where (a fraction of the length), with which bytes."""
    what = st.sampled_from(("set", "insert", "cut", "remove", "double"))
    new = st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(TELLING))
    return st.lists(st.tuples(what, st.floats(0, 1), new), min_size=1, max_size=6)


def changed(valid: bytes, changes: list[Edit]) -> bytes:
    """The bytes after all changes."""
    content = valid
    for what, where, new in changes:
        at = int(where * len(content))
        if what == "set":
            content = content[:at] + new + content[at + len(new) :]
        elif what == "insert":
            content = content[:at] + new + content[at:]
        elif what == "cut":
            content = content[:at]
        elif what == "remove":
            content = content[:at] + content[at + len(new) :]
        else:
            content = content[: at + 4096] + content[at:]
    return content


def files(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Changed forms of one of some valid files, and bytes of any kind."""
    some = st.sampled_from(valid)
    return st.one_of(st.builds(changed, some, edits()), st.binary(max_size=300))


def told(error: Exception) -> None:
    """A refusal says something."""
    assert str(error).strip()
