"""How sides are compared: in turns, by ratios within a round, and only if they do the same."""

import importlib
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("rounds")


def test_sides_take_turns_and_the_warm_round_does_not_count(rounds):
    asked = []

    def way(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    ways = {name: lambda name=name: way(name) for name in ("ours", "theirs")}
    found = rounds.alternate(ways, 2, warm=True)
    assert asked == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert found == {"ours": [3.0, 6.0], "theirs": [4.0, 5.0]}


def test_a_ratio_is_of_one_round_so_that_a_slow_round_cancels(rounds):
    assert rounds.ratios([2.0, 20.0], [1.0, 10.0]) == [2.0, 2.0]
    assert rounds.row("any", [3.0, 1.0, 2.0])["median"] == 2.0


def test_sides_that_differ_end_the_benchmark(rounds):
    with pytest.raises(SystemExit, match="different things: images"):
        rounds.require(False, "images")


def test_a_row_is_kept_with_command_versions_hardware_and_date(rounds, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds.sys, "argv", ["/some/where/benchmarks/lrn.py", "--rounds", "2"])
    rounds.write("lrn", [rounds.row("lrn/torch", [2.0])], tmp_path)
    text = (tmp_path / "lrn.json").read_text()
    assert '"command": "python benchmarks/lrn.py --rounds 2"' in text
    assert "/some/where" not in text
    for name in ("date", "hardware", "versions", "load_average_1_min", "rounds"):
        assert f'"{name}":' in text


def test_every_figure_belongs_to_a_benchmark_that_make_bench_runs(rounds):
    names = {name.partition("/")[0] for name in rounds.TARGETS} - {
        "grid_peers_cars",
        "grid_peers_quarter",
    }
    makefile = (REPOSITORY / "Makefile").read_text()
    listed = re.search(r"BENCHMARKS := ((?:.*\\\n)*.*)", makefile)
    assert listed is not None
    given = shlex.split(listed[1].replace("\\\n", " "))
    runs = {each.split()[0] for each in given}  # some have rows without a figure
    assert names <= runs
    assert all((REPOSITORY / "benchmarks" / f"{name}.py").is_file() for name in runs)
