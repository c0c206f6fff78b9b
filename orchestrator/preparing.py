"""Preparation as a person sees it: photos to views, forests, `sr` views, with a progress bar."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from orchestrator.experiment import Experiment
from orchestrator.forest_training import ensure_forest
from trainables.fingerprint import key_of
from trainables.index import Index
from trainables.listing import write_listing
from trainables.prepare import PrepareReport, prepare
from trainables.spec import DataSpec, ViewSpec
from trainables.views import is_prepared, low_source, view_spec

Report = Callable[[int, int], None]


class PreparationStoppedError(Exception):
    """A stop was requested; nothing half-prepared stays."""


def missing_views(
    experiment: Experiment, views: Iterable[ViewSpec], data_root: Path
) -> list[ViewSpec]:
    """The views that are not prepared, and before `sr` ones what those are made from.

    None are missing of data sets whose photos are read while stages train.
    """
    resident = [view for view in views if view.data_key not in experiment.streamed]
    wanted = [view for view in resident if not is_prepared(data_root, view)]
    enlarged = [view for view in wanted if view.form == "sr"]
    sources = [low_source(view) for view in enlarged]
    if enlarged and experiment.recipe.superres.images is None:
        data, key = experiment.recipe.data, experiment.facts.data_key
        sources.append(view_spec(data, key, "high", "train"))
    together = {key_of(view): view for view in (*sources, *wanted)}
    return [view for view in together.values() if not is_prepared(data_root, view)]


def write_listings(experiment: Experiment, data_root: Path) -> list[Path]:
    """What stages that read photos themselves need: where each lies and what is said of it."""
    return [
        write_listing(index, data, data_key, data_root)
        for data_key, (index, data) in experiment.streamed.items()
        if index is not None
    ]


def prepare_views(
    experiment: Experiment,
    views: Sequence[ViewSpec],
    root: Path,
    console: Console,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[PrepareReport]:
    """Make missing views: those of photos first, then the forest, then the `sr` views.

    Args:
        experiment: whose photos they are.
        views: of `missing_views`.
        root: of data and store.
        console: for the bar.
        should_stop: asked after every block.

    Raises:
        PreparationStoppedError: when `should_stop` says so.
        DataError: with every bad photo.
    """
    reports = [
        _prepare_photos(index, data, specs, root / "data", console, should_stop)
        for index, data, specs in photo_work(experiment, views)
    ]
    enlarged = [view for view in views if view.form == "sr"]
    if enlarged and experiment.index is not None:
        _prepare_enlarged(experiment, experiment.index, enlarged, root, console, should_stop)
    return reports


def photo_work(
    experiment: Experiment, views: Sequence[ViewSpec]
) -> Iterator[tuple[Index, DataSpec, list[ViewSpec]]]:
    """The views that are made from photos, by data set."""
    recipe = experiment.recipe
    for index, facts, data in (
        (experiment.index, experiment.facts, recipe.data),
        (experiment.auxiliary_index, experiment.auxiliary, recipe.auxiliary),
    ):
        if index is None or facts is None or data is None:
            continue
        specs = [v for v in views if v.data_key == facts.data_key and v.form != "sr"]
        if specs:
            yield index, data, specs


def _prepare_photos(
    index: Index,
    data: DataSpec,
    views: Sequence[ViewSpec],
    data_root: Path,
    console: Console,
    should_stop: Callable[[], bool],
) -> PrepareReport:
    with _bar(f"preparing {data.dataset}", console, should_stop) as report:
        return prepare(index, data, views, data_root, report)


def _prepare_enlarged(
    experiment: Experiment,
    index: Index,
    views: Sequence[ViewSpec],
    root: Path,
    console: Console,
    should_stop: Callable[[], bool],
) -> None:
    from trainables.superres_views import prepare_superres

    recipe, data_key = experiment.recipe, experiment.facts.data_key
    forest = ensure_forest(recipe, data_key, root, lambda text: console.print(f"      {text}"))
    for view in views:
        with _bar(f"super-resolving {view.split}", console, should_stop) as report:
            prepare_superres(index, view, forest.folder.absolute(), root / "data", report)


@contextmanager
def _bar(title: str, console: Console, should_stop: Callable[[], bool]) -> Iterator[Report]:
    def report(done: int, total: int) -> None:
        if should_stop():
            raise PreparationStoppedError
        bar.update(task, completed=done, total=total)

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield report
