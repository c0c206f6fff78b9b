"""Both forms together, then low alone: Staged with a first stage that prefers neither form."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """Mixed for the updates of one low stage, then low from its weights: the updates of Staged."""
    low = StageDraft(views=("low",), n_images=cell.n_low)
    both = low.model_copy(update={"views": ("high", "low"), "updates_of": (cell.n_low,)})
    return (both, low)
