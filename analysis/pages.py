"""One result as CSV for machines, markdown and HTML for readers."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from analysis.tables import escaped, html_document


@dataclass(frozen=True)
class Page:
    """What a page says, all plain text.

    Attributes:
        title: what it shows, of what.
        tables: texts with their row and column labels; the index's name is not shown.
        notes: sentences below.
    """

    title: str
    tables: Sequence[pd.DataFrame]
    notes: Sequence[str] = field(default=())


def write_page(folder: Path, name: str, page: Page, numbers: pd.DataFrame) -> list[Path]:
    """Write `NAME.csv` with the numbers, `NAME.md` and `NAME.html` with the page.

    Returns:
        The files written; equal results give equal bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "csv": numbers.to_csv(index=False, lineterminator="\n"),
        "md": markdown(page),
        "html": html_document(page.title, _fragment(page)),
    }
    written = [folder / f"{name}.{ending}" for ending in contents]
    for path, content in zip(written, contents.values(), strict=True):
        path.write_text(content, encoding="utf-8")
    return written


def markdown(page: Page) -> str:
    """The page in GitHub's markdown."""
    parts = [f"{escaped(page.title)}.", *map(_markdown_table, page.tables)]
    parts.append("\n".join(f"- {escaped(note)}" for note in page.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def _markdown_table(table: pd.DataFrame) -> str:
    lines = [["", *table.columns], [":--", *["--:"] * len(table.columns)]]
    lines += [[label, *row] for label, row in zip(table.index, table.to_numpy(), strict=True)]
    header, rule, *body = lines
    plain = [header, *body]
    written = [f"| {' | '.join(escaped(str(cell)) for cell in line)} |" for line in plain]
    return "\n".join([written[0], f"| {' | '.join(rule)} |", *written[1:]])


def _fragment(page: Page) -> str:
    parts = [f"<h1>{html.escape(page.title)}</h1>"]
    for number, table in enumerate(page.tables):
        styler = Styler(
            table.rename_axis(index=None), uuid=f"t{number}", uuid_len=0, cell_ids=False
        )
        styler.format(escape="html")
        styler.format_index(escape="html", axis=0)
        styler.format_index(escape="html", axis=1)
        parts.append(f'<div class="wide">\n{styler.to_html()}</div>')
    return "\n".join([*parts, *(f"<p>{html.escape(note)}</p>" for note in page.notes)])
