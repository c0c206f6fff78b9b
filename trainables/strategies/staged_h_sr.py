"""Staged training whose second stage sees super-resolved photos: both remedies together."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, then super-resolved low from its weights, tested on super-resolved photos."""
    high = StageDraft(views=("high",), n_images=cell.n_high)
    return (high, StageDraft(views=("sr",), n_images=cell.n_low, low_test="sr"))
