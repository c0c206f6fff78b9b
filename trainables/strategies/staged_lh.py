"""Staged-Training (L-H) (Tables 1 and 3): the method in reverse, expected to hurt."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """Low, then high from its weights."""
    low = StageDraft(views=("low",), n_images=cell.n_low)
    return (low, StageDraft(views=("high",), n_images=cell.n_high))
