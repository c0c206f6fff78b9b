"""`f2c heatmap`: the paper's Figure 3 for two cells of a run, and its claim as numbers."""

import argparse
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import track

from orchestrator.display import next_line
from orchestrator.publishing import named_run, write_pages
from orchestrator.trained_cell import own_options
from trainables.errors import ConfigError
from trainables.memory import keep_freed_memory

USAGE = "f2c heatmap demo --images 200"


def heatmap(arguments: Sequence[str], console: Console) -> int:
    """Compute heat maps, draw them, compare them, and write the run's pages again.

    Raises:
        ConfigError: when no run is named, or its cells cannot be compared.
        DataError: when cells or their test photos are not there any more.
    """
    from analysis.heat_network import HeatSettings
    from analysis.heat_page import verdicts_of
    from analysis.heat_runs import heat_of
    from analysis.runs import load

    keep_freed_memory()
    options, words, flags = own_options("heatmap", _options(), arguments)
    folder, root = named_run(words, flags, USAGE)

    def shown(photos: Sequence[int], what: str) -> Iterable[int]:
        return track(photos, what, console=console)

    settings = HeatSettings(options.images, options.patch_px, options.stride_px)
    cells = tuple(options.cells) if options.cells else None
    heat = heat_of(folder, root, load(folder), settings, cells, shown)
    if heat is None:
        raise ConfigError(
            f"{folder.name} has not both low and staged_hl cells; name two with --cells A B"
        )
    for file in write_pages(folder, root, through=options.through):
        if file.stem in ("heatmaps", "figure3", "report") and file.suffix in (
            ".md",
            ".html",
            ".png",
        ):
            console.print(f"{file.stem:8} {file}")
    for line in verdicts_of(heat):
        console.print(line)
    console.print(next_line("export", *words, heat.cells[1], *flags))
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="f2c heatmap RECIPE | FOLDER [options]", allow_abbrev=False
    )
    parser.add_argument("--cells", nargs=2, metavar=("A", "B"), help="default: low and staged_hl")
    parser.add_argument("--images", type=_positive, default=200, metavar="N")
    parser.add_argument("--patch-px", type=_positive, default=0, help="default: side / 7")
    parser.add_argument("--stride-px", type=_positive, default=4, help="1 is the paper's map")
    parser.add_argument("--through", choices=("soft", "binary"), default="soft")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value
