"""AlexNet "Low" (Tables 1 and 3; row H0 of Table 2): trained as it is tested, on low-res."""

from trainables.spec import Cell, StageDraft


def stages(cell: Cell) -> tuple[StageDraft, ...]:
    """One stage on the low view."""
    return (StageDraft(views=("low",), n_images=cell.n_low),)
