"""Staged with the first half of the layers kept as high-res photos made them."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, then low from its weights, the later half of the layers only."""
    high = StageDraft(views=("high",), n_images=cell.n_high)
    low = StageDraft(views=("low",), n_images=cell.n_low)
    return (high, low.model_copy(update={"frozen_share": 0.5})) if cell.n_high else (low,)
