"""A cell that a run has finished: its weights, the photos it was tested on, what it is called."""

import argparse
import difflib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.experiment import load_experiment
from orchestrator.flags import leading_words, parse
from orchestrator.inventory import metrics_of
from orchestrator.plan import Plan, make_plan
from orchestrator.recipe import Recipe
from trainables.entry import Entry
from trainables.errors import ConfigError, DataError
from trainables.fingerprint import key_of
from trainables.spec import ViewSpec
from trainables.store import Store
from trainables.views import View


@dataclass(frozen=True)
class TrainedCell:
    """A finished cell.

    Attributes:
        name: `staged_hl/h3-l5/s0`.
        recipe: that it was trained by, its variant's fields in place.
        entry: of its last stage.
        tests: the views that it is tested on, by name.
        accuracies: fractions, by the names of the tests that were made.
        root: of store and data.
        has_boxes: whether the set's photos are cut to boxes.
    """

    name: str
    recipe: Recipe
    entry: Entry
    tests: dict[str, ViewSpec]
    accuracies: dict[str, float]
    root: Path
    has_boxes: bool

    def view(self, *, as_is: bool) -> ViewSpec:
        """The form in which photos reach the network: low as it is tested, or only resized."""
        low = self.tests["low"]
        if not as_is:
            return low
        plain = {"form": "high", "resolution_px": None, "jpeg_quality": None, "superres": None}
        return self.tests.get("high") or low.model_copy(update=plain | {"degrade_from": "object"})

    def evaluated(self, *, as_is: bool = False) -> View:
        """The prepared photos that it was tested on, in the form closest to `view`.

        Raises:
            DataError: when they are not prepared any more.
        """
        from trainables.streamed import view_at_hand

        form = "high" if as_is and "high" in self.tests else "low"
        return view_at_hand(self.root / "data", self.tests[form])


def own_options(
    verb: str, parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, list[str], list[str]]:
    """Take a verb's own options out of a command line.

    Returns:
        The options, the words before the first other flag, and the flags of recipe and machine.
    """
    parser.prog = f"f2c {verb}"
    parser.epilog = "Any field of the recipe is a flag, too, and --root."
    options, rest = parser.parse_known_args(list(arguments))
    words = leading_words(rest)
    return options, words, rest[len(words) :]


def find_trained_cell(name: str, cell: str, flags: Sequence[str]) -> TrainedCell:
    """Look up a cell of a recipe.

    Args:
        name: of the recipe, shipped or a file.
        cell: such as `staged_hl/h3-l5/s0`.
        flags: of recipe and machine.

    Raises:
        ConfigError: when the recipe has no such cell.
        DataError: when it is not trained, with the command that trains it, or has diverged.
    """
    recipe, machine = parse(name, flags)
    experiment = load_experiment(recipe, machine.root, must_exist=False)
    plan, store = make_plan([experiment]), Store(machine.root / "store")
    _check_name(plan, cell)
    planned, key = plan.cells[cell]
    entry = store.checked(key)
    if entry is None:
        command = shlex.join([name, *flags])
        raise DataError(
            f"{cell} is not trained: {machine.root / 'store'} does not have its last stage; "
            f"f2c run {command} trains it"
        )
    if entry.kind == "diverged":
        raise DataError(f"{cell} has diverged in training, so it has no weights to use")
    index = experiment.index
    return TrainedCell(
        cell,
        recipe.of(planned.strategy).at(planned.resolution_px),
        entry,
        plan.tests[cell],
        _accuracies(entry, plan.tests[cell], store),
        machine.root,
        has_boxes=index is not None and not np.isnan(index.boxes).all(),
    )


def _check_name(plan: Plan, cell: str) -> None:
    if cell not in plan.cells:
        near = difflib.get_close_matches(cell, plan.cells, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"no cell {cell} in this recipe{hint}")


def _accuracies(entry: Entry, tests: dict[str, ViewSpec], store: Store) -> dict[str, float]:
    sums = {
        name: metrics_of(entry, entry.key, key_of(view), store.find) for name, view in tests.items()
    }
    return {name: int(s["correct"]) / int(s["seen"]) for name, s in sums.items() if s is not None}
