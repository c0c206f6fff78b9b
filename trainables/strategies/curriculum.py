"""Coarser step by step: does the way from high to low need a landing?"""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, twice the low resolution, low; the last two make the updates of one low stage.

    With `budget: steps` each makes those of every stage.
    """
    high = StageDraft(views=("high",), n_images=cell.n_high)
    half = max(1, cell.n_low // 2)
    low = StageDraft(views=("low",), n_images=cell.n_low, updates_of=(half,))
    between = low.model_copy(update={"resolution_times": 2.0})
    return (high, between, low) if cell.n_high else (between, low)
