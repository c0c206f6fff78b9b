"""High, tested on super-resolved photos: "leads to poor performance" (section 4.1)."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """The high stage of AlexNet "High"; only its test differs."""
    return (StageDraft(views=("high",), n_images=cell.n_high, low_test="sr"),)
