"""The table of speeds shows every promised row, measured or not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def table_of(folder: Path) -> str:
    command = [sys.executable, REPOSITORY / "benchmarks" / "table.py", "--out", folder]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "README.md").read_text()


def record(name: str, median: float, date: str = "2026-11-25 20:00 UTC") -> dict:
    row = {"name": name, "median": median, "low": median, "high": median, "rounds": 3}
    return {
        "benchmark": name.partition("/")[0],
        "command": "python benchmarks/lrn.py",
        "date": date,
        "hardware": "a processor, 2 CPUs",
        "load_average_1_min": 0.1,
        "versions": {"torch": "2"},
        "rows": [row | {"details": {"sides": {"ours": "3 images/s"}}}],
    }


def test_what_was_not_measured_says_so(tmp_path: Path):
    text = table_of(tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    assert all("not measured" in line for line in rows)


def test_a_row_stands_beside_its_figure_and_says_whether_it_is_reached(tmp_path: Path):
    (tmp_path / "lrn.json").write_text(json.dumps(record("lrn/torch", 2.5)))
    (tmp_path / "training.json").write_text(json.dumps(record("training/resnet18/bare", 0.5)))
    text = table_of(tmp_path)
    assert "| torch's LRN | at least 2.2 | 2.5 (2.5 to 2.5) | yes |" in text
    assert "| the bare model | at least 0.97 | 0.5 (0.5 to 0.5) | **no** |" in text
    assert "`python benchmarks/lrn.py`" in text
    assert "a processor, 2 CPUs" in text


@pytest.mark.parametrize("newest", ["lrn", "lrn_again"])
def test_of_two_measurements_of_one_row_the_newer_counts(newest, tmp_path: Path):
    for name in ("lrn", "lrn_again"):
        median, date = (2.5, "2026-11-27") if name == newest else (1.5, "2026-11-26")
        (tmp_path / f"{name}.json").write_text(json.dumps(record("lrn/torch", median, date)))
    assert "| 2.5 (2.5 to 2.5) | yes |" in table_of(tmp_path)


def test_a_number_without_a_figure_is_shown_apart(tmp_path: Path):
    (tmp_path / "x.json").write_text(json.dumps(record("grid_peers/factor sharing", 1.5)))
    assert "| grid_peers/factor sharing | 1.5 (1.5 to 1.5) |" in table_of(tmp_path)


def test_what_two_rows_share_is_said_once(tmp_path: Path):
    both = record("lrn/torch", 2.5)
    both["rows"] += record("lrn/none", 0.9)["rows"]
    (tmp_path / "lrn.json").write_text(json.dumps(both))
    assert table_of(tmp_path).count("ours 3 images/s") == 1
