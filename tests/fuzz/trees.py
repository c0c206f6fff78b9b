"""Valid values and tables with parts exchanged: what reaches behind the first test of a parser."""

import copy
import string
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

#: Values that mean something to code that takes numbers, names or paths.
ODD = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        3,
        1 << 63,
        10**30,
        0.5,
        -0.0,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        " ",
        "a",
        "x" * 300,
        "../x",
        "/etc/passwd",
        "a/b",
        ".",
        "..",
        "\x00",
        "\x1b[2J",
        "\ud800",
    ),
    *("nan", "1e999", "-1", "08", "9" * 5000, "٣", "é", "\u202e", "no", "~", "NULL", "[", "{", "'"),
    *([], {}, [[]], {"a": 1}, [1, "a"]),
)
#: As cells of a text file.
ODD_CELLS = tuple(str(v).encode("utf-8", "surrogatepass") for v in ODD if not isinstance(v, list))
NAMES = st.text(string.ascii_lowercase + "_./", min_size=1, max_size=8)


def odd_values() -> st.SearchStrategy[Any]:
    """Single values, small lists and small mappings."""
    odd = st.sampled_from(ODD).map(copy.deepcopy)  # lists of it may be changed later
    single = st.one_of(odd, st.integers(), st.floats(), st.text(max_size=12))
    return st.recursive(
        single,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)
        ),
        max_leaves=6,
    )


@st.composite
def trees(draw: st.DrawFn, *valid: Any) -> Any:
    """One of some valid values of JSON, in which parts are exchanged, renamed, doubled or gone."""
    value = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        value = _once(draw, value)
    return value


def _once(draw: st.DrawFn, value: Any) -> Any:
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 15)) == 0:
        return draw(odd_values())
    keys = sorted(value, key=str) if isinstance(value, dict) else range(len(value))
    key = draw(st.sampled_from(keys))
    what = draw(st.sampled_from(("deeper", "deeper", "deeper", "gone", "another", "copied")))
    if what == "deeper":
        value[key] = _once(draw, value[key])
    elif what == "gone":
        del value[key]
    elif isinstance(value, list):
        value.insert(key, draw(odd_values()) if what == "another" else copy.deepcopy(value[key]))
    else:
        value[draw(NAMES)] = value.pop(key) if what == "another" else copy.deepcopy(value[key])
    return value


@st.composite
def tables(draw: st.DrawFn, valid: bytes, mark: bytes) -> bytes:
    """A text table whose cells and lines are exchanged, doubled or gone."""
    rows = [line.split(mark) for line in valid.split(b"\n")]
    for _ in range(draw(st.integers(1, 5))):
        row = draw(st.integers(0, len(rows) - 1))
        what = draw(st.sampled_from(("cell", "cell", "cell", "more", "less", "gone", "copied")))
        if what == "gone" and len(rows) > 1:
            del rows[row]
        elif what == "copied":
            rows.insert(draw(st.integers(0, len(rows))), list(rows[row]))
        else:
            _change_row(draw, rows[row], what)
    return b"\n".join(mark.join(row) for row in rows)


def _change_row(draw: st.DrawFn, row: list[bytes], what: str) -> None:
    new = draw(st.one_of(st.sampled_from(ODD_CELLS), st.integers(-2, 6).map(_text)))
    at = draw(st.integers(0, max(len(row) - 1, 0)))
    if what == "less" and len(row) > 1:
        del row[at]
    elif what == "more":
        row.insert(at, new)
    else:
        row[at] = new


def _text(number: int) -> bytes:
    return str(number).encode()


def columns(names: Sequence[str], n_rows: int) -> st.SearchStrategy[dict[str, list[Any]]]:
    """A few rows of columns, each of one type that a table on disk can hold."""
    kinds = (
        st.integers(-2, 5), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), st.booleans(),
        st.sampled_from(["a", "b", "", "1", "nan", "done", "train", "\x1b[2J"]), st.none(),
        st.binary(max_size=4), st.lists(st.integers(0, 3), max_size=2), st.datetimes(),
    )  # fmt: skip
    column = st.sampled_from(kinds).flatmap(
        lambda kind: st.lists(st.one_of(kind, st.none()), min_size=n_rows, max_size=n_rows)
    )
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, column))
