"""Control for Staged (L-H): the same updates and the same restart, without low-res photos."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High for as many updates as the low stage makes, then high again."""
    high = StageDraft(views=("high",), n_images=cell.n_high)
    first = high.model_copy(update={"updates_of": (cell.n_low,)})
    return (first, high) if cell.n_low else (high,)
