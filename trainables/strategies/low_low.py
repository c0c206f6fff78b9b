"""Control for Staged (H-L): the same updates and the same restart, without high-res photos."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """Low for as many updates as the high stage makes, then low again."""
    low = StageDraft(views=("low",), n_images=cell.n_low)
    first = low.model_copy(update={"updates_of": (cell.n_high,)})
    return (first, low) if cell.n_high else (low,)
