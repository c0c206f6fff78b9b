"""Mixed-Training (section 4.1): both forms of the same photos together."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """One stage on both views; how they are mixed is the recipe's choice."""
    return (StageDraft(views=("high", "low"), n_images=cell.n_low),)
