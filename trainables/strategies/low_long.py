"""Control for the restart: the updates of both stages on low photos, in one schedule."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """Low for as many updates as `low_low` makes, without its restart."""
    updates_of = (cell.n_high, cell.n_low) if cell.n_high else ()
    return (StageDraft(views=("low",), n_images=cell.n_low, updates_of=updates_of),)
