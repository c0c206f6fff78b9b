"""Cross-quality distillation (Su and Maji, BMVC 2017): staged, and the high network teaches."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, then low from its weights, with its soft targets for the same photos in high."""
    high = StageDraft(views=("high",), n_images=cell.n_high)
    if not cell.n_high:
        return (StageDraft(views=("low",), n_images=cell.n_low),)
    pairs = StageDraft(views=("low", "high"), n_images=cell.n_low, objective="distill", teacher=0)
    return (high, pairs)
