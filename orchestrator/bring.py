"""`f2c prepare`: bring a data set under `--root`, or make a recipe's views or forest now."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from orchestrator.cluster import Machine, make_root, ray_session
from orchestrator.display import next_line
from orchestrator.experiment import Experiment, load_experiment
from orchestrator.flags import leading_words, parse_one, root_of, standing_flags
from orchestrator.forest_training import ensure_forest
from orchestrator.plan import make_plan
from orchestrator.preparing import missing_views, photo_work, prepare_views, write_listings
from orchestrator.recipe import Recipe
from orchestrator.verifying import verify
from trainables.archive import download_cub200, extract
from trainables.bucket import local_root
from trainables.datasets import DATASETS, find_dataset, read_index
from trainables.errors import ConfigError, DataError
from trainables.index import file_sums
from trainables.prepare import IN_PROCESS_PHOTOS
from trainables.spec import DataSpec
from trainables.views import view_spec

NEXT_PLAN = {"cub200": "table3-birds", "cars": "table2-cars"}
OWN_PLAN = "table2-cars --name mine --data.dataset {name} --cells.step auto"
ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zip")


def bring(arguments: Sequence[str], console: Console) -> int:
    """Dispatch on a data set's name or a recipe's.

    Raises:
        ConfigError: for what is neither.
        DataError: for whatever is wrong with archive, annotations or photos.
    """
    words = leading_words(arguments)
    if words and words[0] == "forest":
        return _prepare_forest(arguments[1:], console)
    if words and words[0] in DATASETS and words[0] != "synthetic":
        return _bring_dataset(words[0], arguments[1:], console)
    return _prepare_recipe(arguments, console)


def _bring_dataset(name: str, flags: Sequence[str], console: Console) -> int:
    standing = root_of(standing_flags())

    def options(
        source: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
        root: str = standing,
        *,
        download: bool = False,
        verify: bool = False,
    ) -> tuple[Path | None, str, bool, bool]:
        return source, root, download, verify

    source, given_root, download, must_verify = tyro.cli(
        options, args=list(flags), prog=f"f2c prepare {name}"
    )
    root = Path(local_root(given_root))
    make_root(root)
    if download and name != "cub200":
        raise ConfigError(f"{name} has no public archive any more; give --from PATH")
    if download:
        source = download_cub200(root / "downloads")
    if source is None:
        raise ConfigError(f"say where the photos are: f2c prepare {name} --from PATH")
    if not source.exists():
        raise DataError(f"{name}: there is nothing at {source}; check --from")
    folder = source
    if source.name.endswith(ARCHIVES):
        (digest,) = file_sums([source], root / "data" / "sums.json")
        target = root / "datasets" / f"{name}-{digest[:8]}"
        folder = _only_folder(target if target.exists() else extract(source, target))
    index = read_index(DataSpec(dataset=name, root=str(folder)))
    splits = ", ".join(f"{len(index.rows(split))} {split}" for split in ("train", "test"))
    console.print(f"{name}: {len(index.class_names)} classes, {splits} photos in {folder}")
    if must_verify:
        verify(index, root / "data", console)
    plan = NEXT_PLAN.get(name, OWN_PLAN.format(name=name))
    under = [] if given_root == standing else ["--root", given_root]
    console.print(next_line("plan", *plan.split(), "--data.root", str(folder), *under))
    return 0


def _only_folder(folder: Path) -> Path:
    """The set's own folder inside an archive that wraps it in one."""
    inside = [item for item in folder.iterdir() if item.is_dir()]
    return inside[0] if len(inside) == 1 and len(list(folder.iterdir())) <= 2 else folder


def _prepare_recipe(given: Sequence[str], console: Console) -> int:
    arguments = [word for word in given if word != "--verify"]
    recipe, machine = parse_one(arguments)
    make_root(machine.root)
    experiment = load_experiment(recipe, machine.root, must_exist=True)
    plan, data_root = make_plan([experiment]), machine.root / "data"
    if len(arguments) < len(given):
        _verify_files(experiment, data_root, console)
    views = plan.views().values()
    missing = missing_views(experiment, views, data_root)
    for listing in write_listings(experiment, data_root):
        console.print(f"photos are read while stages train (data.mode: stream), from {listing}")
    large = any(len(i) >= IN_PROCESS_PHOTOS for i, _, _ in photo_work(experiment, missing))
    with ray_session(machine) if large else nullcontext():
        for report in prepare_views(experiment, missing, machine.root, console):
            console.print(
                f"{report.n_photos} photos -> {', '.join(report.prepared)} in "
                f"{report.seconds:.1f} s; {report.n_clipped_boxes} boxes cut off at the border"
            )
    n_ready = sum(view.data_key not in plan.streamed for view in views)
    console.print(f"ready: {n_ready} views under {data_root}")
    console.print(next_line("run", *arguments))
    return 0


def _verify_files(experiment: Experiment, data_root: Path, console: Console) -> None:
    """Verify the photos of an experiment, where they are files."""
    recipe = experiment.recipe
    for index, data in (
        (experiment.index, recipe.data),
        (experiment.auxiliary_index, recipe.auxiliary),
    ):
        if (
            index is not None
            and data is not None
            and find_dataset(data.dataset).read_photos is None
        ):
            verify(index, data_root, console)


def _prepare_forest(flags: Sequence[str], console: Console) -> int:
    """Train the forest of a recipe now: the same one that its run would train."""
    given = ["--superres.images" if flag == "--images" else flag for flag in flags]
    recipe, machine = parse_one(given)
    make_root(machine.root)
    data_key = "" if recipe.superres.images else _high_view_key(recipe, machine, console)
    began = time.perf_counter()
    entry = ensure_forest(recipe, data_key, machine.root, console.print)
    console.print(f"forest {entry.folder} ({time.perf_counter() - began:.0f} s)")
    console.print(next_line("run", *given))
    return 0


def _high_view_key(recipe: Recipe, machine: Machine, console: Console) -> str:
    """Prepare the photos that the forest learns from; the key of their data set."""
    experiment = load_experiment(recipe, machine.root, must_exist=True)
    data_key = experiment.facts.data_key
    view = view_spec(recipe.data, data_key, "high", "train")
    missing = missing_views(experiment, [view], machine.root / "data")
    prepare_views(experiment, missing, machine.root, console)
    return data_key
