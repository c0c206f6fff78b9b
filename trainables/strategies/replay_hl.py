"""Between Staged and Mixed: the low stage still sees some photos in high."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, then low from its weights, a share (`train.replay_share`) of each pass in high."""
    high = StageDraft(views=("high",), n_images=cell.n_high)
    both = StageDraft(views=("high", "low"), n_images=cell.n_low, mixing="replay")
    return (high, both) if cell.n_high else (both,)
