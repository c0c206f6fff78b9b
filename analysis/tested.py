"""The accuracies of a run on test photos that were made low in several ways: `tests.parquet`."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from analysis.captions import INTERVALS, chance_note
from analysis.colours import heat_styles
from analysis.compare import AT_CHANCE
from analysis.runs import ROUNDING, check_file
from analysis.setting import DATASET_NAMES
from analysis.statistics import above_chance_all, binomial_interval, seed_interval
from analysis.tables import escaped, html_document

TESTS_FILE = "tests.parquet"
COLUMNS = ("cell", "test", "form", "test_px", "kernel", "antialias", "accuracy", "n_test", "seed")


def write_tests(
    run: Path, frame: pd.DataFrame, recipe: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write `tests.csv`, `tests.md` and `tests.html` where a run has tests of its own.

    Args:
        run: the run's folder.
        frame: of `runs.load`.
        recipe: of its `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written; none for a run without such tests, or before a cell is done.

    Raises:
        DataError: when `tests.parquet` is not a table of tests.
    """
    file = run / TESTS_FILE
    if not recipe.get("tests") or not file.is_file():
        return []
    tested = check_file(file, COLUMNS)
    if tested.empty:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    table = _with_chance(over_tests(tested), int(frame["n_classes"].to_numpy().max()))
    title = _title(recipe)
    contents = {
        "csv": table.to_csv(index=False, lineterminator="\n"),
        "md": _markdown(table, title),
        "html": html_document(title, _html(table, title)),
    }
    written = [folder / f"tests.{ending}" for ending in contents]
    for path, content in zip(written, contents.values(), strict=True):
        path.write_text(content, encoding="utf-8")
    return written


def over_tests(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per cell-without-seed and test, in the order of the frame.

    Args:
        frame: of `tests.parquet`.

    Returns:
        `cell`, `test`, `form`, `test_px`, `kernel`, `antialias`, `percent` and the ends of its 95 %
        interval `from_percent`, `to_percent` (Student's t over seeds; Wilson's for one), `n_seeds`,
        `n_test`.
    """
    cells = frame["cell"].str.rpartition("/")[0]
    rows = []
    for _, group in frame.groupby([cells, "test"], sort=False):
        first = group.iloc[0]
        cell, test = str(first["cell"]).rpartition("/")[0], first["test"]
        mean, low, high = _interval(group["accuracy"].tolist(), int(first["n_test"]))
        made = {name: first[name] for name in ("form", "test_px", "kernel", "antialias")}
        percent = {"percent": 100 * mean, "from_percent": 100 * low, "to_percent": 100 * high}
        counts = {"n_seeds": len(group), "n_test": int(first["n_test"])}
        rows.append({"cell": cell, "test": test} | made | percent | counts)
    return pd.DataFrame(rows)


def _with_chance(table: pd.DataFrame, n_classes: int) -> pd.DataFrame:
    counts = table["n_test"].to_numpy(), np.full(len(table), n_classes)
    return table.assign(above_chance=above_chance_all(table["percent"].to_numpy() / 100, *counts))


def _notes(table: pd.DataFrame) -> list[str]:
    lines = [f"Square brackets: 95 % interval ({INTERVALS})."]
    return lines if all(table["above_chance"].tolist()) else [*lines, chance_note("this table")]


def _interval(accuracies: list[float], n_test: int) -> tuple[float, float, float]:
    if max(accuracies) - min(accuracies) > ROUNDING:
        return seed_interval(accuracies)
    return binomial_interval(round(accuracies[0] * n_test), n_test)  # one seed, or all agree


def _title(recipe: Mapping[str, Any]) -> str:
    data = recipe["data"]
    dataset = DATASET_NAMES.get(data["dataset"], data["dataset"])
    return (
        f"{recipe['name']}: {dataset}, {recipe['model']['name']}, accuracy in percent by how the "
        f"test photos were made ({data['canvas_px']} px canvas), with 95 % intervals"
    )


def _grid(table: pd.DataFrame) -> pd.DataFrame:
    grid = table.pivot_table(index="test", columns="cell", values="percent", sort=False)
    return grid.rename_axis(index=None, columns=None)


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    written = table.assign(
        text=[
            f"{row['percent']:.1f}{'' if row['above_chance'] else AT_CHANCE} "
            f"[{row['from_percent']:.1f}, {row['to_percent']:.1f}]"
            for row in table.to_dict("records")
        ]
    )
    grid = written.pivot_table(
        index="test", columns="cell", values="text", aggfunc="first", sort=False
    )
    return grid.rename_axis(index=None, columns=None).fillna("")


def _markdown(table: pd.DataFrame, title: str) -> str:
    texts = _texts(table)
    made = table.drop_duplicates("test").set_index("test")
    header = ["test", "px", "kernel", "antialias", *texts.columns]
    lines = [header, ["---"] * len(header)]
    for test, row in texts.iterrows():
        how = made.loc[test]
        antialias = "yes" if how["antialias"] else "no"
        lines.append([test, str(how["test_px"]), how["kernel"], antialias, *row])
    body = "\n".join(f"| {' | '.join(escaped(str(cell)) for cell in line)} |" for line in lines)
    notes = "".join(f"\n- {escaped(note)}\n" for note in _notes(table))
    return f"{escaped(title)}.\n\n{body}\n{notes}"


def _html(table: pd.DataFrame, title: str) -> str:
    texts = _texts(table)
    styles = heat_styles(_grid(table).to_numpy())
    styler = Styler(texts, uuid="tests", uuid_len=0, cell_ids=False)
    styler.apply(lambda _: pd.DataFrame(styles, texts.index, texts.columns), axis=None)
    styler.set_caption(html.escape(title))
    styler.format(escape="html")
    styler.format_index(escape="html", axis=0)
    styler.format_index(escape="html", axis=1)
    notes = "".join(f"\n<p>{html.escape(note)}</p>" for note in _notes(table))
    return f'<div class="wide">\n{styler.to_html()}</div>{notes}'
