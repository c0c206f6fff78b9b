"""The table of all benchmarks, from the rows they left: printed, and `README.md` beside them.

`python benchmarks/table.py [--out docs/results/speed]`; what was not measured says so.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rounds import RESULTS
from targets import TARGETS

HEAD = """# Speed

Ratios within one run: median (smallest to largest) over rounds in which the sides take turns.
Written by `python benchmarks/table.py` from the rows beside it; `make bench` measures all of them
but the quarter.
What a figure could be at most, by operations and bytes: [limits.md](limits.md)."""


def read(folder: Path) -> list[dict[str, Any]]:
    """What each benchmark left, in the order of their names."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def number(row: dict[str, Any], unit: str = "") -> str:
    text = f"{row['median']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
    return f"{text} {unit}".strip()


def aimed(rows: dict[str, dict[str, Any]]) -> list[str]:
    """One line per figure to reach."""
    lines = [
        "| what | against | to reach | measured | reached |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, target in TARGETS.items():
        row = rows.get(name)
        ends = ("not measured", "")
        if row is not None:
            verdict = "yes" if target.reached(row["median"]) else "**no**"
            ends = (number(row, target.unit), verdict)
        lines.append("| " + " | ".join([target.what, target.against, target.text, *ends]) + " |")
    return lines


def others(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Rows without a figure to reach, such as the factors of the gain."""
    names = sorted(rows.keys() - TARGETS.keys())
    lines = [f"| {name} | {number(rows[name])} |" for name in names]
    return (
        ["", "## Also measured", "", "| what | measured |", "| --- | --- |", *lines]
        if lines
        else []
    )


def details(records: list[dict[str, Any]]) -> list[str]:
    """Per benchmark: how, on what, and the sides of each row."""
    lines = []
    for record in records:
        software = ", ".join(f"{name} {v}" for name, v in record["versions"].items())
        lines += ["", f"## {record['benchmark']}", "", f"`{record['command']}`, {record['date']}."]
        lines += [f"{record['hardware']}; {software}; load {record['load_average_1_min']}.", ""]
        lines += lines_of(record["rows"])
    return lines


def lines_of(rows: list[dict[str, Any]]) -> list[str]:
    """A line a row; what it shares with the row before is not said again."""
    lines, before = [], {}
    for row in rows:
        new = {key: value for key, value in row["details"].items() if before.get(key) != value}
        said = "; ".join(f"{key}: {said_of(value)}" for key, value in new.items())
        lines.append(f"- {row['name']}, {row['rounds']} rounds. {said}".rstrip())
        before = row["details"]
    return lines


def said_of(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {said_of(inner)}" for key, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    records = read(chosen.out)
    by_date = sorted(records, key=lambda record: record["date"])
    rows = {row["name"]: row for record in by_date for row in record["rows"]}  # the newest stays
    table = aimed(rows) + others(rows)
    print("\n".join(table))
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join([HEAD, "", *table, *details(records)])
    (chosen.out / "README.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
