"""Stages of one draft are alike but for seeds and parents: what they share is made once. Pure."""

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
from trainables.fingerprint import RECIPE_VERSION, SharedText
from trainables.spec import DataSpec, StageDraft, StageSpec, SubsetSpec
from trainables.views import view_spec

#: In what the stages of one kind differ; their subsets are of one size.
VARIED = frozenset({"subset", "parent", "teacher", "seed", "order_seed"})


class StageKind:
    """The stages of one draft; `images` are the image passes of each.

    Args:
        experiment: recipe, and the forest of super-resolved views.
        draft: what the strategy says.
        facts: of the photos, the experiment's or the auxiliary ones.
        data: how their views are made.
        fresh: whether the head is new.
    """

    def __init__(
        self,
        experiment: Experiment,
        draft: StageDraft,
        facts: Facts,
        data: DataSpec,
        *,
        fresh: bool,
    ) -> None:
        self._recipe, self._draft = experiment.recipe, draft
        self._mould = mould_of(experiment, draft, facts, data, fresh=fresh)
        self._text = SharedText(self._mould, VARIED)
        self._subsets: dict[int, SubsetSpec] = {}
        self.images = image_passes(self._mould)

    def stage(self, seed: int, parent: str | None, teacher: str | None) -> tuple[str, StageSpec]:
        """Key and spec of the stage of a cell's seed."""
        seeds = seeds_of(self._recipe, seed)
        own = {"subset": self._subset(seeds.subset), "parent": parent, "teacher": teacher}
        own |= {"seed": seeds.initialisation, "order_seed": seeds.order}
        spec = self._mould.model_copy(update=own)
        return self._text.key_of(spec), spec

    def _subset(self, seed: int) -> SubsetSpec:
        if seed not in self._subsets:
            self._subsets[seed] = subset_of(self._recipe, self._draft, seed)
        return self._subsets[seed]


def mould_of(
    experiment: Experiment, draft: StageDraft, facts: Facts, data: DataSpec, *, fresh: bool
) -> StageSpec:
    """A stage of the draft, without its seeds and parents."""
    recipe, px = experiment.recipe, resolution_of(data, draft)
    return StageSpec(
        views=tuple(
            view_spec(data, facts.data_key, form, "train", px, experiment.superres)
            for form in draft.views
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
