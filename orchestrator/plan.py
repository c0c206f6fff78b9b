"""Cells -> the directed graph of their distinct stages. Pure: recipe and facts in, plan out."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

from orchestrator.cells import cells_of, drafts_of, token
from orchestrator.experiment import Experiment, Facts
from orchestrator.stage_fields import (
    augment_of,
    mixing_of,
    model_of,
    objective_of,
    resolution_of,
    seeds_of,
    subset_of,
    training_of,
)
from trainables.budget import image_passes
from trainables.fingerprint import RECIPE_VERSION, SharedTexts, key_of
from trainables.index import evaluation_split
from trainables.spec import (
    Cell,
    DataSpec,
    Form,
    StageDraft,
    StageSpec,
    SubsetSpec,
    ViewSpec,
)
from trainables.views import view_spec


@dataclass(frozen=True)
class PlannedStage:
    """A distinct stage: what it computes, what it is called, and who needs it.

    `images` counts image passes of its training, the unit that costs are measured in.
    """

    key: str
    name: str
    spec: StageSpec
    evaluations: tuple[ViewSpec, ...]
    images: int
    parents: tuple[str, ...]


@dataclass
class Plan:
    """Stages in an order in which parents come first; `cells` maps a cell's name to its last.

    `tests` maps it to the views that its last stage is tested on: `high`, `low` (or what takes
    its place) and those that the recipe names. `streamed` are keys of data sets that stream.
    """

    stages: dict[str, PlannedStage] = field(default_factory=dict)
    cells: dict[str, tuple[Cell, str]] = field(default_factory=dict)
    tests: dict[str, dict[str, ViewSpec]] = field(default_factory=dict)
    users: dict[str, list[str]] = field(default_factory=dict)
    streamed: set[str] = field(default_factory=set)
    unshared_stages: int = 0
    unshared_images: int = 0

    @property
    def images(self) -> int:
        """Image passes of all distinct stages."""
        return sum(stage.images for stage in self.stages.values())

    def views(self, keys: Iterable[str] | None = None) -> dict[str, ViewSpec]:
        """Views, by their keys, that stages (all, or these) are trained or evaluated on."""
        stages = self.stages.values() if keys is None else (self.stages[key] for key in keys)
        found = (view for stage in stages for view in (*stage.spec.views, *stage.evaluations))
        return {key_of(view): view for view in found}

    def children(self) -> dict[str, list[str]]:
        """Stage keys to the keys of stages that start from them."""
        found: dict[str, list[str]] = {key: [] for key in self.stages}
        for stage in self.stages.values():
            for parent in stage.parents:
                found[parent].append(stage.key)
        return found


def make_plan(experiments: Iterable[Experiment]) -> Plan:
    """Plan the cells of one or several recipes together; equal stages appear once.

    With several recipes, cells are named `<recipe>:<cell>`, since tables share cell names.
    """
    plan, together = Plan(), list(experiments)
    with _nothing_to_collect():
        for experiment in together:
            _add(experiment, plan, f"{experiment.recipe.name}:" if len(together) > 1 else "")
    return plan


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """No search for garbage while objects are made and none dropped: a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _add(experiment: Experiment, plan: Plan, prefix: str) -> None:
    plan.streamed |= experiment.streamed.keys()
    parts = {None: experiment, **experiment.variants}
    builders: dict[tuple[str | None, int | None], _Builder] = {}
    for cell in cells_of(experiment.recipe, experiment.facts.n_train):
        name, px = cell.strategy if cell.strategy in parts else None, cell.resolution_px
        if (name, px) not in builders:
            part = replace(parts[name], recipe=parts[name].recipe.at(px))
            builders[name, px] = _Builder(part, plan, prefix)
        builders[name, px].add(cell)


class _Builder:
    """Adds one experiment's cells to a plan."""

    def __init__(self, experiment: Experiment, plan: Plan, prefix: str) -> None:
        self._prefix = prefix
        self._experiment = experiment
        self._recipe = experiment.recipe
        self._plan = plan
        self._known: dict[tuple, PlannedStage] = {}
        self._stem = f"{self._recipe.data.dataset}-{slug(self._recipe.model.name)}"
        # what seeds have in common is made once: a plan of 100,000 cells takes seconds
        self._texts = SharedTexts()
        self._moulds: dict[tuple[StageDraft, bool, str], StageSpec] = {}
        self._subsets: dict[tuple[StageDraft, int], SubsetSpec] = {}
        self._tests = cache(self._new_tests)
        self._evaluations = tuple(self._tests("low", None).values())

    def add(self, cell: Cell) -> None:
        stages: list[PlannedStage] = []
        chain = ""
        parent = self._root(cell.seed)
        drafts = drafts_of(self._recipe, cell)
        for draft in drafts:
            chain = f"{chain}-{token(cell, draft)}" if chain else token(cell, draft)
            teacher = None if draft.teacher is None else stages[draft.teacher].key
            stage = self._stage(cell, draft, parent, teacher, chain, first=not stages)
            stages.append(stage)
            parent = stage.key
        name = self._prefix + cell.name
        self._plan.cells[name] = (cell, parent or "")
        tests = self._tests(drafts[-1].low_test, cell.strategy)
        self._plan.tests[name] = tests
        self._evaluate(stages[-1].key, tuple(tests.values()))
        root = [] if stages[0].spec.parent not in self._plan.stages else [stages[0].spec.parent]
        for key in (*root, *(stage.key for stage in stages)):
            self._plan.users.setdefault(key, []).append(name)
        self._plan.unshared_stages += len(stages)
        self._plan.unshared_images += sum(stage.images for stage in stages)

    def _new_tests(self, low_test: Form, strategy: str | None) -> dict[str, ViewSpec]:
        """The evaluation views: high, low in the form that reaches the network, the recipe's own.

        The recipe's own are for cells of a strategy, not for stages on the way (None).
        A canvas of the low resolution shows low photos at their native size; there is no high test.
        """
        data, tests = self._recipe.data, {}
        if data.canvas_px > data.resolution_px:
            tests["high"] = self._test(data, "high")
        tests["low"] = self._test(data, low_test)
        for name, test in self._recipe.tests.items():
            if strategy is None or (test.strategies and strategy not in test.strategies):
                continue
            how = test.model_dump(exclude={"strategies"})
            given = {k: v for k, v in how.items() if v is not None}
            tests[name] = self._test(data.model_copy(update=given), "low")
        return tests

    def _test(self, data: DataSpec, form: Form) -> ViewSpec:
        facts, superres = self._experiment.facts, self._experiment.superres
        return view_spec(data, facts.data_key, form, evaluation_split(data), superres=superres)

    def _evaluate(self, key: str, views: tuple[ViewSpec, ...]) -> None:
        """Have a planned stage evaluated on further views."""
        stage = self._plan.stages[key]
        if views != stage.evaluations:
            merged = tuple(dict.fromkeys((*stage.evaluations, *views)))
            self._plan.stages[key] = replace(stage, evaluations=merged)

    def _root(self, seed: int) -> str | None:
        """Imported weights, or the auxiliary stage trained from them (stage 1 of Figure 2)."""
        auxiliary = self._recipe.auxiliary
        if auxiliary is None or self._experiment.auxiliary is None:
            return self._experiment.weights_key
        facts = self._experiment.auxiliary
        spec = self._spec(
            StageDraft(views=("high",), n_images=facts.n_train),
            seed=seed,
            parent=self._experiment.weights_key,
            teacher=None,
            first=True,
            facts=facts,
            data=auxiliary,
        )
        views = (view_spec(auxiliary, facts.data_key, "high", evaluation_split(auxiliary)),)
        return self._put(spec, f"{auxiliary.dataset}-auxiliary", seed, views).key

    def _stage(
        self,
        cell: Cell,
        draft: StageDraft,
        parent: str | None,
        teacher: str | None,
        chain: str,
        *,
        first: bool,
    ) -> PlannedStage:
        known = (draft, parent, teacher, first, cell.seed)
        if known not in self._known:
            spec = self._spec(
                draft,
                seed=cell.seed,
                parent=parent,
                teacher=teacher,
                first=first,
                facts=self._experiment.facts,
                data=self._recipe.data,
            )
            name = f"{self._stem}-{chain}"
            self._known[known] = self._put(spec, name, cell.seed, self._evaluations)
        return self._known[known]

    def _put(
        self, spec: StageSpec, name: str, seed: int, evaluations: tuple[ViewSpec, ...]
    ) -> PlannedStage:
        key = self._texts.key_of(spec)
        if key not in self._plan.stages:
            both = dict.fromkeys((spec.parent, spec.teacher))
            parents = tuple(k for k in both if k is not None and k in self._plan.stages)
            self._plan.stages[key] = PlannedStage(
                key, f"{name}-s{seed}", spec, evaluations, image_passes(spec), parents
            )
        self._evaluate(key, evaluations)
        return self._plan.stages[key]

    def _spec(
        self,
        draft: StageDraft,
        *,
        seed: int,
        parent: str | None,
        teacher: str | None,
        first: bool,
        facts: Facts,
        data: DataSpec,
    ) -> StageSpec:
        recipe = self._recipe
        fresh = first or recipe.train.later_head == "fresh"
        seeds = seeds_of(recipe, seed)
        kind = (draft, fresh, facts.data_key)
        mould = self._moulds.get(kind)
        if mould is None:
            mould = self._moulds[kind] = self._mould(draft, facts, data, fresh=fresh)
        subset = self._subsets.get((draft, seeds.subset))
        if subset is None:
            subset = self._subsets[draft, seeds.subset] = subset_of(recipe, draft, seeds.subset)
        own = {"subset": subset, "parent": parent, "teacher": teacher}
        return mould.model_copy(
            update=own | {"seed": seeds.initialisation, "order_seed": seeds.order}
        )

    def _mould(self, draft: StageDraft, facts: Facts, data: DataSpec, *, fresh: bool) -> StageSpec:
        """A stage without its seeds and parents."""
        recipe, superres = self._recipe, self._experiment.superres
        px = resolution_of(data, draft)
        return StageSpec(
            views=tuple(
                view_spec(data, facts.data_key, form, "train", px, superres) for form in draft.views
            ),
            mixing=mixing_of(recipe, draft),
            subset=subset_of(recipe, draft, 0),
            n_classes=facts.n_classes,
            model=model_of(recipe.model),
            head="fresh" if fresh else "kept",
            objective=objective_of(recipe, draft),
            augment=augment_of(recipe, data, draft),
            training=training_of(recipe, draft, facts.n_train, fresh=fresh),
            seed=0,
            parent=None,
            teacher=None,
            recipe_version=RECIPE_VERSION,
            replay_share=recipe.train.replay_share if draft.mixing == "replay" else 0.0,
        )


def slug(text: str) -> str:
    """Letters, digits, dot and underscore only, so that a name is safe as a folder."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in text)
