"""A table for a LaTeX document: plain `tabular` that needs no package."""

from analysis.captions import caption, notes
from analysis.compare import Comparison, best_places, text
from analysis.setting import Setting

_WRITTEN = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: f"${char}$" for char in "<>|"},
    "*": "$^*$",
    "\N{DAGGER}": r"$^\dagger$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
}
_TABLE = str.maketrans(_WRITTEN)


def latex_table(comparison: Comparison, setting: Setting) -> str:
    """The table with its caption above and its notes below, for `input`.

    Names outside Latin-1 need XeLaTeX or LuaLaTeX.
    """
    best = best_places(comparison)
    lines = [["", *map(escape, comparison.columns.values())]]
    for row, label in comparison.rows.items():
        cells = [
            f"\\textbf{{{cell}}}" if (row, column) in best else cell
            for column, cell in _cells(comparison, row)
        ]
        lines.append([escape(label), *cells])
    # A row that begins with a bracket would be taken for the argument of the line break.
    header, *body = (f"{{}}{' & '.join(line)} \\\\" for line in lines)
    below = "\\\\\n".join(escape(note) for note in notes(comparison, setting))
    return "\n".join(
        [
            r"\begin{table}\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            f"\\caption{{{escape(caption(comparison, setting))}}}",
            f"\\begin{{tabular}}{{l{'r' * len(comparison.columns)}}}",
            *(r"\hline", header, r"\hline", *body, r"\hline"),
            r"\end{tabular}",
            "",
            f"\\raggedright {below}",
            r"\end{table}",
            "",
        ]
    )


def _cells(comparison: Comparison, row: str) -> list[tuple[str, str]]:
    wide = comparison.table != "table2"
    return [
        (column, escape(text(comparison.entries[row, column], with_interval=wide)))
        for column in comparison.columns
    ]


def escape(plain: str) -> str:
    """Plain text as one line of LaTeX."""
    return " ".join(plain.split()).translate(_TABLE)
