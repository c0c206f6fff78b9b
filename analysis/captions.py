"""What is said above and below a table, in plain text."""

from analysis import paper
from analysis.compare import AT_CHANCE, Comparison, of_same_seeds, rivals_of
from analysis.setting import Setting, deviations, paper_dataset

#: How the intervals of accuracies are made; a mean over seeds says nothing of other test photos.
INTERVALS = (
    "Student's t over seeds, without the chance of the test photos; Wilson's, of that chance "
    "alone, where one seed is done or all agree"
)


def caption(comparison: Comparison, setting: Setting) -> str:
    """What a table shows, of what, and how to read it; plain text."""
    title = paper.TITLES.get(comparison.table, "Results")
    name = f" ({setting.name})" if setting.name else ""
    parts = [f"{title}{name}.", f"{setting.title}."]
    if comparison.table in paper.TITLES:
        theirs = f"the paper's, of AlexNet on all of {paper_dataset(comparison.table)}, one run"
        beside = "" if comparison.table == "table2" else "; ours minus it"
        parts.append(f"Accuracy in percent: ours ({theirs}{beside}).")
    else:
        parts.append("Accuracy in percent.")
    if comparison.table == "table2":
        seen = "the same photos" if setting.relation == "same" else "as many, but other photos"
        parts.append(
            "Low-res test. HX, LY: X eighths of the photos in high-res, then Y in low-res. "
            f"{paper.DAGGER} staged and {paper.STAR} mixed saw {seen}: "
            "compare them within a column; the better one of ours is bold."
        )
    else:
        parts.append("Square brackets: 95 % interval. The best of ours in a column is bold.")
    return " ".join(parts)


def notes(comparison: Comparison, setting: Setting) -> list[str]:
    """What must be said under a table, plain text: differences, chance, what is incomplete."""
    lines: list[str] = []
    if comparison.table in paper.TITLES:
        found = deviations(setting, comparison.table)
        lines.append(f"Differs from the paper: {'; '.join(found) or 'nothing that is known'}.")
    measured = [entry for entry in comparison.entries.values() if entry.n_seeds]
    half_widths = [(entry.high - entry.low) / 2 for entry in measured if entry.low <= entry.high]
    if half_widths:
        lines.append(f"95 % intervals: ±{max(half_widths):.1f} points at most ({INTERVALS}).")
    if not all(entry.above_chance for entry in measured):
        lines.append(chance_note("the cells of a test"))
    return lines + _incomplete(comparison)


def chance_note(family: str) -> str:
    """What the mark of a network that may be guessing means, tested over a family of cells."""
    return (
        f"{AT_CHANCE}: not above chance (exact binomial test against guessing among the classes, "
        f"Holm over {family}, 5 %)."
    )


def _incomplete(comparison: Comparison) -> list[str]:
    # Where the columns are the two tests of one cell, its row says it once.
    grid = comparison.table == "table2"
    told = [
        f"{row}{f' {column}' * grid}: {entry.status}, {entry.n_seeds} of {entry.n_planned} done"
        for (row, column), entry in comparison.entries.items()
        if entry.n_seeds < entry.n_planned
    ]
    found = list(dict.fromkeys(told))
    if not found:
        return []
    more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
    lines = [f"Incomplete: {'; '.join(found[:8])}{more}."]
    rivals = (rivals_of(comparison, column) for column in comparison.columns)
    if not all(of_same_seeds(comparison, places) for places in rivals):
        lines.append("Bold where all have the same seeds only.")
    return lines
