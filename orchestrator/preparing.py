"""Preparation as a person sees it: a progress bar where there is a terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from trainables.index import Index
from trainables.prepare import PrepareReport, prepare
from trainables.spec import DataSpec, ViewSpec


class PreparationStoppedError(Exception):
    """A stop was requested; nothing half-prepared stays."""


def prepare_with_bar(
    index: Index,
    data: DataSpec,
    views: Sequence[ViewSpec],
    data_root: Path,
    console: Console,
    should_stop: Callable[[], bool] = lambda: False,
) -> PrepareReport:
    """Make the views that are missing; see `trainables.prepare.prepare`.

    Raises:
        PreparationStoppedError: when `should_stop` says so; it is asked after every block.
    """

    def on_progress(done: int, total: int) -> None:
        if should_stop():
            raise PreparationStoppedError
        bar.update(task, completed=done, total=total)

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"preparing {data.dataset}", total=None)
        return prepare(index, data, views, data_root, on_progress)
