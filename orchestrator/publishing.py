"""From a finished run to what a person reads: tables, figures, report, MLflow, last words."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.display import next_line
from trainables.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.sweep import Outcome


def publish(outcome: "Outcome", command: str, arguments: Sequence[str], console: Console) -> None:
    """Write everything of a run, tell MLflow, and say the last words on the terminal.

    MLflow is told the end of the run, and gets all that waits for it, after a fault too.
    """
    from analysis.runs import load, load_recipe
    from analysis.tables import summary_markdown
    from analysis.terminal import as_rich_table
    from orchestrator.closing import close_tracking, last_words
    from orchestrator.run_record import write_record

    try:
        write_record(outcome, command)
        frame, recipe = load(outcome.folder), load_recipe(outcome.folder)
        _draw_some_heat(outcome, frame, console)
        files = write_pages(outcome.folder, outcome.root)
        note = summary_markdown(frame, recipe)
    except BaseException as fault:
        close_tracking(outcome, [], f"ended by {type(fault).__name__}: {fault}", fault)
        raise
    close_tracking(outcome, files, note)
    table = as_rich_table(frame, width=console.width)
    if table is not None:
        console.print(table)
    for line in last_words(outcome, files, arguments):
        console.print(line)


def _draw_some_heat(outcome: "Outcome", frame: "pd.DataFrame", console: Console) -> None:
    """Compute heat maps of the few photos that the report shows, where the run has none at all.

    Those that `f2c heatmap` made stay, whatever was asked of it; a failed run gets none. What
    cannot be drawn is said: the other pages do not need it.
    """
    from analysis.heat_network import HeatSettings
    from analysis.heat_runs import N_KEPT, heat_of, heat_of_plan
    from analysis.runs import load_plan

    folder = outcome.folder
    if outcome.exit_status != 0 or heat_of_plan(folder, load_plan(folder)) is not None:
        return
    try:
        heat_of(folder, outcome.root, frame, HeatSettings(N_KEPT))
    except (ConfigError, DataError) as fault:
        console.print(f"no heat maps: {fault}")


def write_pages(folder: Path, root: Path, *, through: str = "soft") -> list[Path]:
    """Tables, figures and `report.html` of a run, from the files in its folder.

    Args:
        folder: of the run.
        root: under which `data/` holds the prepared views, for the photos in the report.
        through: how Figure 3 filters photos, `soft` or `binary`.

    Returns:
        The files written.

    Raises:
        DataError: when the folder holds no results.
    """
    from analysis.outputs import write_outputs
    from analysis.report import write_report
    from analysis.runs import load, load_recipe

    files = write_outputs(folder, load(folder), load_recipe(folder), through=through)
    return [*files, write_report(folder, root / "data")]


def named_run(words: Sequence[str], flags: Sequence[str], usage: str) -> tuple[Path, Path]:
    """The folder of a run, named by its recipe or by itself, and its root, which can be written.

    Raises:
        ConfigError: when not one run is named, or its root cannot be written.
    """
    from orchestrator.cluster import check_root
    from orchestrator.flags import parse
    from orchestrator.recipe_files import root_of_run

    if len(words) != 1:
        raise ConfigError(f"one recipe, or the folder of a run, is wanted: {usage}")
    own_root = root_of_run(words[0])
    if own_root is not None:  # its recipe may be of an earlier version: its record is enough
        _, machine = parse(None, ["--root", str(own_root), *flags])
        check_root(machine.root)
        return Path(words[0]), machine.root
    recipe, machine = parse(words[0], flags)
    check_root(machine.root)
    return machine.root / recipe.name, machine.root


def report(arguments: Sequence[str], console: Console) -> int:
    """`f2c report`: write a run's pages again.

    Raises:
        ConfigError: when no run is named.
        DataError: when it has no results.
    """
    from orchestrator.flags import leading_words

    words = leading_words(arguments)
    folder, root = named_run(words, arguments[len(words) :], "f2c report demo")
    for file in write_pages(folder, root):
        if file.suffix in (".html", ".png"):
            console.print(f"{file.stem:8} {file}")
    console.print(next_line("status", *arguments))
    return 0
