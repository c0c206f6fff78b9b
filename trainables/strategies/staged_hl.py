"""Staged-Training (H-L), the paper's method (section 3): high-res first, then low-res."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, then low from its weights; without high photos (row H0) the low stage alone."""
    high = StageDraft(views=("high",), n_images=cell.n_high)
    low = StageDraft(views=("low",), n_images=cell.n_low)
    return (high, low) if cell.n_high else (low,)
