"""docs/reliability.md has every case once, with a test that exists or why there is none."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"
#: How many cases each letter has; 116 in all.
CASES = {"K": 13, "I": 5, "F": 19, "D": 24, "C": 9, "M": 10, "R": 7, "N": 9, "S": 20}


def rows() -> dict[str, str]:
    """Case to the cell that says what holds it."""
    found = re.findall(r"^\| ([A-Z]\d\d) \| .+? \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(found) == len(dict(found)), "a case is there twice"
    return dict(found)


def named() -> list[tuple[str, str, str]]:
    pairs = [(case, re.findall(r"`([\w/.]+)::(\w+)`", cell)) for case, cell in rows().items()]
    return [(case, file, test) for case, tests in pairs for file, test in tests]


@lru_cache
def defined_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_case_is_there_once():
    wanted = [f"{letter}{n:02d}" for letter, count in CASES.items() for n in range(1, count + 1)]
    assert len(wanted) == 116
    assert list(rows()) == wanted


def test_every_case_has_a_test_or_a_reason():
    held = {case for case, _, _ in named()}
    without = {case: cell for case, cell in rows().items() if case not in held}
    assert [case for case, cell in without.items() if not cell.startswith("none")] == []


@pytest.mark.parametrize(("case", "file", "test"), named())
def test_every_named_test_exists_and_carries_its_case(case, file, test):
    assert test in defined_in(file)
    assert f"_{case.lower()}_" in test
