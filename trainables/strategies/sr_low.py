"""Super-Res NBSRF (Tables 1 and 3): trained and tested on super-resolved photos."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """One stage on the super-resolved view."""
    return (StageDraft(views=("sr",), n_images=cell.n_low, low_test="sr"),)
