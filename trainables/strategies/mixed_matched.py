"""Control for Mixed: both forms of the photos, in the updates of one low stage."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """Mixed for half of its passes."""
    updates_of = (cell.n_low,)
    return (StageDraft(views=("high", "low"), n_images=cell.n_low, updates_of=updates_of),)
