"""Random resolution as augmentation: one stage that has seen every resolution, not a curriculum."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """One stage on high photos, each batch made as coarse as chance says, the low ones at most."""
    return (StageDraft(views=("high",), n_images=cell.n_low, random_resolution=True),)
