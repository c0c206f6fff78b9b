"""Tables for readers: CSV for machines, HTML for a browser, markdown for GitHub and MLflow."""

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from analysis import paper
from analysis.captions import caption, notes
from analysis.colours import heat_styles
from analysis.compare import Comparison, best_places, compare, long_table, tables_of, text
from analysis.latex import latex_table
from analysis.setting import Setting, setting_of

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em }}
{style}</style></head>
<body>
{body}
</body>
</html>
"""
#: What `html_table` expects of the page around it.
STYLE = """.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95em;
 margin-block: .8em }
figure { margin: 0 } figcaption { padding-bottom: .6em }
th, td { padding: .25em .5em; text-align: right; white-space: nowrap }
th.row_heading, th.blank { text-align: left }
th.row_heading { white-space: normal; overflow-wrap: break-word }
"""


def write_tables(frame: pd.DataFrame, recipe: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every table that has cells as `tableN.csv`, `.html`, `.md` and `.tex`.

    Args:
        frame: of `runs.load`.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for table in tables_of(frame):
        comparison = compare(frame, table)
        setting = setting_of(frame.loc[frame["table"] == table], recipe)
        contents = {
            "csv": long_table(comparison).to_csv(index=False, lineterminator="\n"),
            "html": html_page(comparison, setting),
            "md": markdown_table(comparison, setting),
            "tex": latex_table(comparison, setting),
        }
        for ending, content in contents.items():
            path = folder / f"{table}.{ending}"
            path.write_text(content, encoding="utf-8")
            written.append(path)
    return written


def summary_markdown(frame: pd.DataFrame, recipe: Mapping[str, Any]) -> str:
    """All tables of a run as markdown, for the description of its MLflow run."""
    parts = []
    for table in tables_of(frame):
        setting = setting_of(frame.loc[frame["table"] == table], recipe)
        parts.append(markdown_table(compare(frame, table), setting))
    # MLflow draws a table without any room between its columns.
    return re.sub(r"(?<=[^-:]) \| (?=[^-:])", " &nbsp; | ", "\n".join(parts))


def html_page(comparison: Comparison, setting: Setting) -> str:
    """A page of its own with one table."""
    title = paper.TITLES.get(comparison.table, "Results")
    return html_document(title, html_table(comparison, setting))


def html_document(title: str, body: str) -> str:
    """A self-contained page around a fragment, with `STYLE`; the title is plain text."""
    return _PAGE.format(title=html.escape(title), style=STYLE, body=body)


def html_table(comparison: Comparison, setting: Setting) -> str:
    """The table with heat colours and its notes, as a fragment for a page with `STYLE`."""
    rows, columns = pd.Index(comparison.rows.values()), pd.Index(comparison.columns.values())
    cells = pd.DataFrame(_texts(comparison), index=rows, columns=columns)
    styles = pd.DataFrame(_styles(comparison), index=rows, columns=columns)
    styler = Styler(cells, uuid=comparison.table, uuid_len=0, cell_ids=False)
    styler.apply(lambda _: styles, axis=None)
    styler.format(escape="html")
    styler.format_index(escape="html", axis=0)
    styler.format_index(escape="html", axis=1)
    lines = "\n".join(f"<p>{html.escape(line)}</p>" for line in notes(comparison, setting))
    title = html.escape(caption(comparison, setting))
    return (
        f"<figure><figcaption>{title}</figcaption>\n"
        f'<div class="wide">\n{styler.to_html()}</div></figure>\n{lines}'
    )


def markdown_table(comparison: Comparison, setting: Setting) -> str:
    """The table in GitHub's markdown with its caption above and its notes below."""
    best = best_places(comparison)
    lines = [["", *(escaped(label) for label in comparison.columns.values())]]
    lines.append([":--", *["--:"] * len(comparison.columns)])
    for (row, label), texts in zip(comparison.rows.items(), _texts(comparison), strict=True):
        cells = [
            f"**{escaped(cell)}**" if (row, column) in best else escaped(cell)
            for column, cell in zip(comparison.columns, texts, strict=True)
        ]
        lines.append([escaped(label), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = "\n".join(f"- {escaped(line)}" for line in notes(comparison, setting))
    return f"{escaped(caption(comparison, setting))}\n\n{table}\n\n{below}\n"


def _texts(comparison: Comparison) -> list[list[str]]:
    wide = comparison.table != "table2"
    return [
        [text(comparison.entries[row, column], with_interval=wide) for column in comparison.columns]
        for row in comparison.rows
    ]


def _styles(comparison: Comparison) -> list[list[str]]:
    best = best_places(comparison)
    places = [[(row, column) for column in comparison.columns] for row in comparison.rows]
    percent = np.array([[comparison.entries[place].ours for place in row] for row in places])
    return [
        [
            "; ".join(filter(None, [style, "font-weight: bold" if place in best else ""]))
            for place, style in zip(row, styles, strict=True)
        ]
        for row, styles in zip(places, heat_styles(percent).tolist(), strict=True)
    ]


def escaped(plain: str) -> str:
    """Plain text as one line of markdown."""
    one_line = " ".join(plain.split())
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", html.escape(one_line, quote=False))
