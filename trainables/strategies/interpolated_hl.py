"""Staged, then half way back in weights (WiSE-FT: Wortsman et al., CVPR 2022); costs nothing."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """High, low, and weights between the two (`objective.teacher_share` of high's)."""
    low = StageDraft(views=("low",), n_images=cell.n_low)
    if not cell.n_high:
        return (low,)
    between = low.model_copy(update={"objective": "interpolate", "teacher": 0})
    return (StageDraft(views=("high",), n_images=cell.n_high), low, between)
