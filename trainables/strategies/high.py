"""AlexNet "High" (Tables 1 and 3): trained on the high-res photos only; the oracle on high."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """One stage on the high view."""
    return (StageDraft(views=("high",), n_images=cell.n_high),)
