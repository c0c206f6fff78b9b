"""The report's page around its sections, and headings and pictures in it.

No script, nothing from outside, images inline; prints; readable on a phone, dark and light.
"""

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_IN = 110
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5em auto; max-width: 84em;
 padding: 0 1em; overflow-wrap: anywhere }}
h1 {{ line-height: 1.2 }} h2 {{ margin-top: 2em; border-top: 1px solid #8886; padding-top: .6em }}
p, figcaption {{ max-width: 72em }} .figure {{ max-width: none; overflow-x: auto }}
img {{ max-width: 100%; height: auto; background: #fff }}
pre {{ white-space: pre-wrap; background: #8882; padding: .7em; border-radius: .3em }}
dl {{ display: grid; grid-template-columns: minmax(8em, max-content) 1fr; gap: .2em 1em }}
dt {{ opacity: .75 }} dd {{ margin: 0 }}
.state {{ font-weight: 600; padding: .5em .8em; background: #8882;
 border-left: .4em solid #2f7d4f }}
.state.part {{ border-color: #c2570c }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15em, 1fr)); gap: 1em }}
.card {{ margin: 0; padding: .6em; border: 1px solid #8886; border-radius: .4em;
 break-inside: avoid }}
.card div {{ display: flex; gap: .4em }} .card img {{ flex: 1; min-width: 0 }}
.card ul {{ list-style: none; margin: .3em 0 0; padding: 0; font-size: .85em }}
.card .right span {{ color: #2f7d4f }} .card .wrong span {{ color: #c2570c }}
.note {{ font-size: .9em; opacity: .85 }}
@media (max-width: 40em) {{ .figure img {{ max-width: none; width: 44em }}
 dl {{ grid-template-columns: 1fr }} dd {{ margin: 0 0 .5em 1em }} }}
@media print {{ body {{ max-width: none; font-size: 11px }} h2 {{ break-after: avoid }} }}
{style}</style></head>
<body>
{body}
</body>
</html>
"""


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>\n"


def figure_section(title: str, figure: "Figure | None", note: str) -> str:
    """A heading, a note in HTML, and the figure; nothing without a figure."""
    if figure is None:
        return ""
    return f'{heading(title)}<p class="note">{note}</p>{inline(figure, title)}'


def inline(figure: "Figure", text: str) -> str:
    """The figure as an image inside the page; `text` for those who cannot see it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_IN, metadata={"Software": None})
    return _tag(file.getvalue(), text)


def picture(file: Path, text: str) -> str:
    """A PNG file as an image inside the page; nothing where there is no file."""
    return _tag(file.read_bytes(), text) if file.is_file() else ""


def _tag(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<p class="figure"><img alt="{html.escape(text)}" src="data:image/png;base64,{data}"></p>'
    )
