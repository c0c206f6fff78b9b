"""Reports opened in Chromium, at a phone's and a desktop's width: nothing asked of the outside."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.outputs import write_outputs
from analysis.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed (Debian: apt-get install chromium)"
)

SHIPPED = sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/report.html"))
WIDTHS_PX = {"phone": 360, "desktop": 1280}
#: The report in a frame of a width; its own width is written into the title when it is there.
FRAMES = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<title></title><body>{frames}<script>
addEventListener("load", () => {{ for (const frame of document.querySelectorAll("iframe"))
  frame.title = frame.contentDocument.documentElement.scrollWidth + " of " + frame.clientWidth
    + ", " + frame.contentDocument.querySelectorAll("h2").length + " sections, "
    + [...frame.contentDocument.querySelectorAll(".wide")].filter(
      (table) => table.scrollWidth > table.clientWidth).length + " tables cut"; }})</script>"""
FRAME = '<iframe src="report.html" style="border:0;height:900px;width:{width_px}px"></iframe>'
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",
    "--dump-dom",
]
#: A request that a page began (the browser's own have no page), one a line of the record.
ASKED = re.compile(r'"initiator":"http://127.*"url":"((?:https?|wss?|ftp)://[^"]*)"')
BROKEN = re.compile(r"CONSOLE.*")


@pytest.fixture
def written(tmp_path, grid, recipe):
    """A report of a whole run of Table 2 with its photos' pages."""
    run = tmp_path / "run"
    run.mkdir()
    grid.to_parquet(run / "results.parquet")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    rng = np.random.default_rng(0)
    rows = [
        {"cell": cell, "test": "low", "row": row, "label": 1, "predicted": 1 + int(wrong)}
        for cell in grid["cell"]
        for row, wrong in enumerate(rng.random(30) < 0.5)
    ]
    predictions = pd.DataFrame(rows).assign(confidence=0.8)
    predictions.astype({"cell": "category", "test": "category"}).to_parquet(
        run / "predictions.parquet"
    )
    write_outputs(run, grid, recipe)
    return write_report(run, tmp_path / "data")


def opened(report: Path, folder: Path) -> tuple[dict[str, str], list[str], list[str]]:
    """Each frame's size in words, console messages, and addresses asked for.

    The addresses are those that a page asked for, in Chromium's own record of its network.
    """
    shutil.copy(report, folder / "report.html")
    frames = "".join(FRAME.format(width_px=width_px) for width_px in WIDTHS_PX.values())
    (folder / "frames.html").write_text(FRAMES.format(frames=frames))
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        ended = browse(address + "frames.html", folder)
        server.shutdown()
    sizes = re.findall(r'<iframe[^>]*title="([^"]*)"', ended.stdout)
    asked = ASKED.findall((folder / "net.json").read_text(errors="replace"))
    outside = [url for url in asked if not url.startswith(address)]
    return dict(zip(WIDTHS_PX, sizes, strict=True)), BROKEN.findall(ended.stderr), outside


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder on loopback and prints nothing."""

    def log_request(self, *_: object) -> None:
        """Say nothing of a request."""


def browse(address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    own = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}"]
    hosts = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    return subprocess.run(
        [CHROMIUM, *FLAGS, *own, hosts, address],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
        env=os.environ | {"HOME": str(folder)},
    )


def check(report: Path, folder: Path) -> None:
    sizes, console, outside = opened(report, folder)
    for name, size in sizes.items():
        width_px, frame_px, sections, _ = map(int, re.findall(r"\d+", size))
        assert width_px <= frame_px, f"{report} scrolls sideways at {name} width: {size}"
        assert sections == report.read_text().count("<h2>")
    assert console == []
    assert outside == []


def test_a_report_just_written_opens_clean_and_fits_phone_and_desktop(written, tmp_path):
    check(written, tmp_path)


def test_no_table_of_a_report_is_cut_on_a_desktop(written, tmp_path):
    sizes, _, _ = opened(written, tmp_path)
    assert "What a high-res label is worth" in written.read_text()
    assert sizes["desktop"].endswith(" 0 tables cut")


@pytest.mark.parametrize("report", SHIPPED, ids=[path.parent.name for path in SHIPPED])
def test_shipped_reports_open_clean_and_fit_phone_and_desktop(report, tmp_path):
    check(report, tmp_path)


def test_what_is_looked_for_is_found(tmp_path):
    report = tmp_path / "bad.html"
    report.write_text(
        '<h2>wide</h2><div style="width:3000px">x</div><img src="http://example.com/a.png">'
        "<script>console.error('heard')</script>"
    )
    sizes, console, outside = opened(report, tmp_path)
    assert {size.partition(" ")[0] for size in sizes.values()} == {"3008"}
    assert any("heard" in line for line in console)
    assert "http://example.com/a.png" in outside
