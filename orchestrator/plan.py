"""Cells -> the directed graph of their distinct stages. Pure: recipe and facts in, plan out."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.cells import cells_of, drafts_of
from orchestrator.experiment import Experiment, Facts
from orchestrator.recipe import Recipe
from trainables.budget import image_passes
from trainables.errors import ConfigError
from trainables.fingerprint import RECIPE_VERSION, key_of
from trainables.index import evaluation_split
from trainables.spec import (
    AugmentSpec,
    Cell,
    DataSpec,
    Form,
    ModelSpec,
    ObjectiveSpec,
    StageDraft,
    StageSpec,
    SubsetSpec,
    TrainingSpec,
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
    its place) and those that the recipe names.
    """

    stages: dict[str, PlannedStage] = field(default_factory=dict)
    cells: dict[str, tuple[Cell, str]] = field(default_factory=dict)
    tests: dict[str, dict[str, ViewSpec]] = field(default_factory=dict)
    users: dict[str, list[str]] = field(default_factory=dict)
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
    for experiment in together:
        prefix = f"{experiment.recipe.name}:" if len(together) > 1 else ""
        parts = {None: experiment, **experiment.variants}
        builders = {name: _Builder(part, plan, prefix) for name, part in parts.items()}
        for cell in cells_of(experiment.recipe, experiment.facts.n_train):
            builders[cell.strategy if cell.strategy in parts else None].add(cell)
    return plan


class _Builder:
    """Adds one experiment's cells to a plan."""

    def __init__(self, experiment: Experiment, plan: Plan, prefix: str) -> None:
        self._prefix = prefix
        self._experiment = experiment
        self._recipe = experiment.recipe
        self._plan = plan
        self._evaluations = tuple(self._tests("low").values())[:2]
        self._known: dict[tuple, PlannedStage] = {}

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
        tests = self._tests(drafts[-1].low_test)
        self._plan.tests[name] = tests
        self._evaluate(stages[-1].key, tuple(tests.values()))
        root = [] if stages[0].spec.parent not in self._plan.stages else [stages[0].spec.parent]
        for key in (*root, *(stage.key for stage in stages)):
            self._plan.users.setdefault(key, []).append(name)
        self._plan.unshared_stages += len(stages)
        self._plan.unshared_images += sum(stage.images for stage in stages)

    def _tests(self, low_test: Form) -> dict[str, ViewSpec]:
        """The evaluation views: high, low in the form that reaches the network, the recipe's own.

        A canvas of the low resolution shows low photos at their native size; there is no high test.
        """
        data, tests = self._recipe.data, {}
        if data.canvas_px > data.resolution_px:
            tests["high"] = self._test(data, "high")
        tests["low"] = self._test(data, low_test)
        for name, test in self._recipe.tests.items():
            given = {k: v for k, v in test.model_dump().items() if v is not None}
            tests[name] = self._test(data.model_copy(update=given), "low")
        return tests

    def _test(self, data: DataSpec, form: Form) -> ViewSpec:
        facts, superres = self._experiment.facts, self._experiment.superres
        return view_spec(data, facts.data_key, form, evaluation_split(data), superres=superres)

    def _evaluate(self, key: str, views: tuple[ViewSpec, ...]) -> None:
        """Have a planned stage evaluated on further views."""
        stage = self._plan.stages[key]
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
            name = f"{self._recipe.data.dataset}-{slug(self._recipe.model.name)}-{chain}"
            self._known[known] = self._put(spec, name, cell.seed, self._evaluations)
        return self._known[known]

    def _put(
        self, spec: StageSpec, name: str, seed: int, evaluations: tuple[ViewSpec, ...]
    ) -> PlannedStage:
        key = key_of(spec)
        if key not in self._plan.stages:
            parents = tuple(k for k in (spec.parent, spec.teacher) if k in self._plan.stages)
            self._plan.stages[key] = PlannedStage(
                key, f"{name}-s{seed}", spec, (), image_passes(spec), parents
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
        mixing = "paired" if teacher else recipe.train.mixing if len(draft.views) > 1 else "single"
        return StageSpec(
            views=tuple(
                view_spec(
                    data,
                    facts.data_key,
                    form,
                    "train",
                    draft.resolution_px,
                    self._experiment.superres,
                )
                for form in draft.views
            ),
            mixing=draft.mixing or mixing,
            subset=_subset(recipe, draft, seed),
            n_classes=facts.n_classes,
            model=_identity_of(recipe.model),
            head="fresh" if fresh else "kept",
            objective=_objective(recipe, draft),
            augment=draft.augment or _augment(recipe, data),
            training=_training(recipe, draft, facts.n_train, fresh=fresh),
            seed=seed,
            parent=parent,
            teacher=teacher,
            recipe_version=RECIPE_VERSION,
        )


def _augment(recipe: Recipe, data: DataSpec) -> AugmentSpec:
    chosen = recipe.augment
    return AugmentSpec(
        mirror=chosen.mirror,
        crop_px=data.crop_px,
        random_resolution_px=chosen.random_resolution_px,
        shift_px=chosen.shift_px,
    )


def _objective(recipe: Recipe, draft: StageDraft) -> ObjectiveSpec:
    """The draft's or the recipe's loss.

    Raises:
        ConfigError: when it distils without a teacher, or has a teacher that it does not use.
    """
    objective = draft.objective or recipe.objective
    if (objective.kind == "distill") != (draft.teacher is not None):
        raise ConfigError(
            "objective.kind: distill goes with a stage that has a teacher, and only with one"
        )
    return objective


def _identity_of(model: ModelSpec) -> ModelSpec:
    """Where weights and mean image lie is no identity: their content is the parent's key."""
    convention = model.normalisation
    if convention == "auto":
        caffe = "caffe" if model.mean_image == "none" else "bgr"
        convention = caffe if model.name in ("alexnet", "caffenet") else "imagenet"
    files = {
        name: "none" if getattr(model, name) == "none" else "given"
        for name in ("weights", "mean_image")
    }
    return model.model_copy(update=files | {"normalisation": convention, "fc6_order": "auto"})


def _subset(recipe: Recipe, draft: StageDraft, seed: int) -> SubsetSpec:
    relation = recipe.subset.relation
    low = "high" not in draft.views
    return SubsetSpec(
        seed=seed,
        n_images=draft.n_images,
        rule=recipe.subset.rule,
        stream=("low" if low else "high") if relation == "independent" else "shared",
        side="back" if relation == "disjoint" and low else "front",
    )


def _training(recipe: Recipe, draft: StageDraft, n_train: int, *, fresh: bool) -> TrainingSpec:
    train = recipe.train
    values: dict[str, Any] = train.model_dump(include=set(TrainingSpec.model_fields))
    if not fresh:
        later = train.later
        values["lr"] = later.lr or train.lr
        values["epochs"] = later.epochs or train.epochs
        values["head_lr_multiplier"] = later.head_lr_multiplier
    if train.precision == "auto":  # no machine was asked
        values["precision"] = TrainingSpec().precision
    images = n_train if train.budget == "steps" else draft.updates_of
    if train.steps is None and images is not None:
        values["steps"] = (values["epochs"] or 1) * -(-images // train.batch_size)
    if values["steps"] is not None:
        values["epochs"] = None
    return TrainingSpec(**values)


def token(cell: Cell, draft: StageDraft) -> str:
    """`h3`, `l5`, `m4`: the form and level of a stage, for its human name."""
    form, *others = draft.views
    level = cell.high_level if draft.n_images == cell.n_high else cell.low_level
    size = f"{level}" if draft.n_images in (cell.n_high, cell.n_low) else f"{draft.n_images}img"
    at = f"at{draft.resolution_px}px" if draft.resolution_px else ""
    return f"{'m' if others else form[0]}{size}{at}" + ("x" if draft.updates_of else "")


def slug(text: str) -> str:
    """Letters, digits, dot and underscore only, so that a name is safe as a folder."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in text)
