"""Control: staged on labels that were dealt out at random; it must end at chance."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, then low, with one wrong label for each photo in both."""
    high = StageDraft(views=("high",), n_images=cell.n_high, labels="shuffled")
    low = StageDraft(views=("low",), n_images=cell.n_low, labels="shuffled")
    return (high, low) if cell.n_high else (low,)
