"""Preparation as a person sees it: a progress bar where there is a terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from trainables.index import Index
from trainables.prepare import PrepareReport, prepare
from trainables.spec import DataSpec, ViewSpec


def prepare_with_bar(
    index: Index, data: DataSpec, views: Sequence[ViewSpec], data_root: Path, console: Console
) -> PrepareReport:
    """Make the views that are missing; see `trainables.prepare.prepare`."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"preparing {data.dataset}", total=None)
        return prepare(
            index,
            data,
            views,
            data_root,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
