"""Cells -> the directed graph of their distinct stages. Pure: recipe and facts in, plan out."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import NamedTuple

from orchestrator.cells import cells_of, drafts_of, token
from orchestrator.experiment import Experiment
from orchestrator.stage_kinds import StageKind
from trainables.fingerprint import key_of
from trainables.index import evaluation_split
from trainables.spec import Cell, DataSpec, Form, StageDraft, StageSpec, ViewSpec
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

    @cached_property
    def ends(self) -> dict[str, list[str]]:
        """Keys of last stages to the cells that end with them; of a whole plan."""
        found: dict[str, list[str]] = {}
        for name, (_, last) in self.cells.items():
            found.setdefault(last, []).append(name)
        return found

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


class _Step(NamedTuple):
    """A stage of a cell: its kind, the step that teaches it, and its chain in human names."""

    kind: StageKind
    teacher: int | None
    chain: str


class _Outline(NamedTuple):
    """What cells that differ in their seed alone have in common."""

    steps: tuple[_Step, ...]
    tests: dict[str, ViewSpec]
    evaluations: tuple[ViewSpec, ...]


class _Builder:
    """Adds one experiment's cells to a plan: of each its outline, then the stages of its steps.

    What seeds have in common is made once, so that a plan of 100,000 cells takes seconds: an
    outline for equal cells, a kind for equal drafts. A stage that cells share is made once, too.
    """

    def __init__(self, experiment: Experiment, plan: Plan, prefix: str) -> None:
        self._prefix = prefix
        self._experiment = experiment
        self._recipe = experiment.recipe
        self._plan = plan
        self._stages: dict[tuple, PlannedStage] = {}
        self._stem = f"{self._recipe.data.dataset}-{slug(self._recipe.model.name)}"
        self._outlines: dict[tuple, _Outline] = {}
        self._kinds: dict[tuple[StageDraft, bool], StageKind] = {}
        self._root = cache(self._new_root)
        self._evaluations = tuple(self._new_tests("low", None).values())

    def add(self, cell: Cell) -> None:
        outline = self._outline(cell)
        stages: list[PlannedStage] = []
        parent = self._root(cell.seed)
        for step in outline.steps:
            teacher = None if step.teacher is None else stages[step.teacher].key
            stages.append(self._stage(cell.seed, step, parent, teacher))
            parent = stages[-1].key
        name = self._prefix + cell.name
        self._plan.cells[name] = (cell, parent or "")
        self._plan.tests[name] = outline.tests
        self._evaluate(stages[-1].key, outline.evaluations)
        root = [] if stages[0].spec.parent not in self._plan.stages else [stages[0].spec.parent]
        for key in (*root, *(stage.key for stage in stages)):
            self._plan.users.setdefault(key, []).append(name)
        self._plan.unshared_stages += len(stages)
        self._plan.unshared_images += sum(stage.images for stage in stages)

    def _outline(self, cell: Cell) -> _Outline:
        place = (cell.strategy, cell.n_high, cell.n_low, cell.high_level, cell.low_level)
        known = self._outlines.get(place)
        if known is None:
            known = self._outlines[place] = self._new_outline(cell)
        return known

    def _new_outline(self, cell: Cell) -> _Outline:
        steps, chain = [], ""
        drafts = drafts_of(self._recipe, cell)
        for draft in drafts:
            chain = f"{chain}-{token(cell, draft)}" if chain else token(cell, draft)
            kind = self._kind(draft, fresh=not steps or self._recipe.train.later_head == "fresh")
            steps.append(_Step(kind, draft.teacher, chain))
        tests = self._new_tests(drafts[-1].low_test, cell.strategy)
        views = tuple(tests.values())
        same = views == self._evaluations
        return _Outline(tuple(steps), tests, self._evaluations if same else views)

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

    def _new_root(self, seed: int) -> str | None:
        """Imported weights, or the auxiliary stage trained from them (stage 1 of Figure 2)."""
        auxiliary, facts = self._recipe.auxiliary, self._experiment.auxiliary
        if auxiliary is None or facts is None:
            return self._experiment.weights_key
        draft = StageDraft(views=("high",), n_images=facts.n_train)
        kind = StageKind(self._experiment, draft, facts, auxiliary, fresh=True)
        key, spec = kind.stage(seed, self._experiment.weights_key, None)
        views = (view_spec(auxiliary, facts.data_key, "high", evaluation_split(auxiliary)),)
        name = f"{auxiliary.dataset}-auxiliary-s{seed}"
        return self._put(key, name, spec, views, kind.images).key

    def _stage(
        self, seed: int, step: _Step, parent: str | None, teacher: str | None
    ) -> PlannedStage:
        known = (step.kind, seed, parent, teacher)
        stage = self._stages.get(known)
        if stage is None:
            key, spec = step.kind.stage(seed, parent, teacher)
            name = f"{self._stem}-{step.chain}-s{seed}"
            stage = self._put(key, name, spec, self._evaluations, step.kind.images)
            self._stages[known] = stage
        return stage

    def _kind(self, draft: StageDraft, *, fresh: bool) -> StageKind:
        if (draft, fresh) not in self._kinds:
            facts, data = self._experiment.facts, self._recipe.data
            kind = StageKind(self._experiment, draft, facts, data, fresh=fresh)
            self._kinds[draft, fresh] = kind
        return self._kinds[draft, fresh]

    def _put(
        self,
        key: str,
        name: str,
        spec: StageSpec,
        evaluations: tuple[ViewSpec, ...],
        images: int,
    ) -> PlannedStage:
        if key not in self._plan.stages:
            both = dict.fromkeys((spec.parent, spec.teacher))
            parents = tuple(k for k in both if k is not None and k in self._plan.stages)
            self._plan.stages[key] = PlannedStage(key, name, spec, evaluations, images, parents)
        self._evaluate(key, evaluations)
        return self._plan.stages[key]


def slug(text: str) -> str:
    """Letters, digits, dot and underscore only, so that a name is safe as a folder."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in text)
