"""One self-contained page of a run: tables, figures, photos, cost, and how to do it again."""

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import paper
from analysis.compare import compare, tables_of
from analysis.cost import costs, draw_costs, summary
from analysis.figures import draw
from analysis.heat_runs import heat_of_plan
from analysis.learning import draw_learning, epochs_of
from analysis.photo_cards import photo_cards
from analysis.photos import PREDICTIONS_FILE
from analysis.report_page import PAGE, figure_section, heading, inline, picture
from analysis.runs import load, load_plan, load_recipe
from analysis.setting import describe, deviations, setting_of
from analysis.tables import STYLE, html_table

REPORT_FILE = "report.html"
RUN_FILE = "run.json"
#: Pages that were written beside the run's tables and belong into the report, with their titles.
OTHER_TABLES = {
    "paired": "Which differences are real",
    "claims": "The paper's claims on Table 2",
    "exchange": "What a high-res label is worth",
    "controls": "Controls and rivals",
    "resolutions": "Over low resolutions",
    "transfer": "Trained at one resolution, tested at another",
    "spread": "What of a seed matters",
    "tests": "Test photos made low in other ways",
}
LATER_TABLES = {
    "classes": "Which classes gain",
    "forgetting": "What is forgotten",
    "reliability": "How far a probability can be believed",
    "heatmaps": "Figure 3: what the networks look at",
}
FIGURES = {
    "exchange": ("exchange", "Accuracy over both kinds of labels"),
    "controls": ("controls", "Each strategy minus Low, and minus Low in as many updates"),
    "resolutions": ("resolutions", "Accuracy, and Staged minus the others, by low resolution"),
    "transfer": ("transfer", "Accuracy by resolution of training and of the test"),
    "classes": ("classes", "Accuracy gained or lost by class"),
    "forgetting": ("forgetting", "High-res accuracy before and after the low-res stage"),
    "reliability": ("reliability", "Reliability diagrams"),
    "heatmaps": ("figure3", "Photos, heat maps, and photos seen through them"),
}


@dataclass(frozen=True)
class Run:
    """Everything of a run that the report reads; what is missing is left out of it.

    Attributes:
        folder: of the run.
        data_root: where prepared views lie.
        frame: of `runs.load`.
        recipe: of `recipe.yaml`.
        plan: of `runs.load_plan`.
        record: of `run.json`: command, versions, hardware, seconds.
    """

    folder: Path
    data_root: Path
    frame: pd.DataFrame
    recipe: Mapping[str, Any]
    plan: Mapping[str, Any]
    record: Mapping[str, Any]


def write_report(folder: Path, data_root: Path) -> Path:
    """Write `report.html` of a run, complete or not; its tables are written before.

    Args:
        folder: of the run.
        data_root: `<root>/data`, for the photos; they are left out where it has none.

    Returns:
        The file.

    Raises:
        DataError: when the folder holds no results, or its plan is torn.
    """
    run = Run(
        folder,
        data_root,
        load(folder),
        load_recipe(folder),
        load_plan(folder),
        _json(folder / RUN_FILE),
    )
    body = "\n".join(part for part in _sections(run) if part)
    title = html.escape(str(run.recipe.get("name") or "run"))
    path = folder / REPORT_FILE
    path.write_text(PAGE.format(title=title, style=STYLE, body=body), encoding="utf-8")
    return path


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _sections(run: Run) -> Iterator[str]:
    yield _head(run)
    yield from _tables(run)
    yield from _other_tables(run, OTHER_TABLES)
    yield _photos(run)
    if run.plan["stages"]:
        yield figure_section(
            "Learning curves", draw_learning(run.plan, epochs_of(run.folder)), _LEARNING
        )
    yield from _other_tables(run, LATER_TABLES)
    if run.plan["stages"]:
        yield _cost(run)
    yield _deviations(run)
    yield _redo(run)


def _head(run: Run) -> str:
    name, setting = str(run.recipe.get("name") or "run"), setting_of(run.frame, run.recipe)
    counts = run.frame["status"].value_counts().to_dict()
    done, total = int(counts.get("done", 0)), len(run.frame)
    others = ", ".join(f"{n} {status}" for status, n in counts.items() if status != "done")
    state = (
        f"Complete: all {total} cells are done."
        if done == total
        else (
            f"Not complete: {done} of {total} cells are done ({others}). What follows shows those."
        )
    )
    part = "" if done == total else " part"
    n_test = int(run.frame["n_test"].to_numpy().max(initial=0))
    photos = f"{setting.n_images} photos to train on" + f", {n_test} to test on" * (n_test > 0)
    lines = [f"{setting.title}; {photos}.", describe(run.recipe)]
    paragraphs = "".join(f"<p>{html.escape(line)}</p>\n" for line in filter(None, lines))
    return (
        f'<h1>{html.escape(name)}</h1>\n{paragraphs}<p class="state{part}">{html.escape(state)}</p>'
    )


def _tables(run: Run) -> Iterator[str]:
    for table in tables_of(run.frame):
        rows = run.frame.loc[run.frame["table"] == table]
        setting, comparison = setting_of(rows, run.recipe), compare(run.frame, table)
        yield heading(paper.TITLES.get(table, "Results"))
        yield html_table(comparison, setting)
        yield inline(draw(comparison, setting), f"{table} as a figure")


def _other_tables(run: Run, titles: Mapping[str, str]) -> Iterator[str]:
    """Fragments that other writers left beside the tables, as `<name>.html` pages of their own."""
    for name, title in titles.items():
        file = run.folder / "tables" / f"{name}.html"
        if not file.is_file():
            continue
        yield heading(title) + body_of(file.read_text(encoding="utf-8"))
        if name in FIGURES:
            figure, text = FIGURES[name]
            yield picture(run.folder / "figures" / f"{figure}.png", text)


def body_of(page: str) -> str:
    """What stands in the body of a page of ours, its title no longer the page's."""
    body = page.partition("<body>")[2].partition("</body>")[0]
    return body.replace("<h1>", "<p><b>").replace("</h1>", "</b></p>")


def _photos(run: Run) -> str:
    file = run.folder / PREDICTIONS_FILE
    if not run.plan["stages"] or not file.is_file():
        return ""
    predictions, heat = pd.read_parquet(file), heat_of_plan(run.folder, run.plan)
    cards = photo_cards(run.plan, run.frame, predictions, run.data_root, heat)
    if not cards:
        return ""
    seen = "" if heat is None else f" Third: what {heat.cells[1]} looks at (yellow: most)."
    note = f'<p class="note">{_PHOTOS}{html.escape(seen)}</p>'
    return f'{heading("Test photos")}{note}\n<div class="cards">{cards}</div>'


def _cost(run: Run) -> str:
    lines = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in (*summary(run.frame, run.plan), *_seconds(run.record))
    )
    figure = draw_costs(costs(run.frame, run.plan))
    drawn = "" if figure is None else inline(figure, "accuracy against image passes")
    return f"{heading('Cost and speed')}<dl>{lines}</dl>{drawn}"


def _seconds(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, seconds in (record.get("seconds") or {}).items():
        yield f"this run: {name}", f"{float(seconds):,.1f} s"


def _deviations(run: Run) -> str:
    lines = [
        f"<li>{html.escape(line)}</li>"
        for table in tables_of(run.frame)
        for line in deviations(
            setting_of(run.frame.loc[run.frame["table"] == table], run.recipe), table
        )
    ]
    if not lines:
        return ""
    return f"{heading('What differs from the paper')}<ul>{''.join(dict.fromkeys(lines))}</ul>"


def _redo(run: Run) -> str:
    record = run.record
    facts = {
        "command": record.get("command", ""),
        "seeds": ", ".join(str(seed) for seed in sorted(set(run.frame["seed"].tolist()))),
        "data fingerprint": str(record.get("data_key", ""))[:16],
        "commit": record.get("commit") or "",
        "hardware": record.get("hardware", ""),
        "ended": record.get("ended", ""),
    } | {f"{name} version": value for name, value in (record.get("versions") or {}).items()}
    lines = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in facts.items()
        if value
    )
    return (
        f'{heading("How to do it again")}<dl>{lines}</dl><p class="note">Everything that '
        "decides the numbers stands in recipe.yaml and plan.json beside this page. Photographs "
        "belong to their photographers.</p>"
    )


_LEARNING = (
    "Accuracy on the training photos in each epoch, by what the stages were trained on, one after "
    "another; a line is one stage, lighter with more photos. Test photos are opened at a stage's "
    "end only."
)
_PHOTOS = (
    "Chosen at random: high-res, low-res as the network sees it, and what each strategy's largest "
    "cell says of the low-res photo, with its probability."
)
