"""Table 2 in miniature: ours against plain Ray Tune, a strong peer, and a plain script.

    python benchmarks/grid_peers.py [--recipe demo] [--epochs 4] [--rounds 1]

All sides train the same cells on the same files with the same budgets; that is asserted, by what
their loops counted and by pixels. The strong peer has our loop, our views and our seeds, so its
accuracies are ours to the last bit. Each side is a process of its own; seconds are without its
imports and the start of Ray. Then our side again, each of its choices undone alone.

Against the strong peer all 79 cells count, for there only sharing differs. The plain peers get the
first `--plain-levels` of the grid, undone choices `--factor-levels`, and ours with them: all would
take long.
The demo itself has 12 epochs a stage: `--epochs 12`. `--recipe table2-cars-small --epochs 1
--plain-levels 8` is a quarter of that table against everyone: real photos, and an hour.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from grid_factors import WITHOUT, undo
from grid_ours import ours, strong
from grid_photos import check_pixels
from grid_plain import documented, script
from grid_work import Done, GridWork, Size
from rounds import REPOSITORY, alternate, arguments, ratios, require, row, sides, write

SIDES = {"ours": ours, "strong": strong, "tune": documented, "script": script}
PEERS = ("strong", "tune", "script")
#: Mean accuracies of the sides may differ by chance: other precision, other order; and few photos,
#: of the real ones (six classes have about 50 for the test).
TOLERANCE = {"demo": 0.05, "table2-cars-small": 0.10}
#: How often a long side shows that it is at work.
ALIVE_S = 30


def size_of(chosen: argparse.Namespace, choice: str | None) -> Size:
    precision = "float32" if choice == "bfloat16, channels last" else "auto"
    amount = (chosen.epochs, chosen.levels, chosen.photos, chosen.classes)
    return Size(chosen.recipe, *amount, precision)


def run_side(chosen: argparse.Namespace, side: str, photos: Path, here: Path) -> Done:
    """One side, in this process, with its files in `here`."""
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # the first one costs seconds
    root = here / "runs"
    work = GridWork(size_of(chosen, chosen.without), photos, root)
    if chosen.without is not None:
        undo(chosen.without, work.recipe.data)
    done = SIDES[side](work, root, chosen.executor)
    if side == "ours":
        check_pixels(work, root)
    return done


class Sides:
    """Runs sides in processes of their own and keeps what they did."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.chosen, self.folder = chosen, folder
        self.done: dict[str, Done] = {}
        self.whole: dict[str, list[float]] = {}

    def seconds(self, name: str, side: str, without: str | None = None) -> float:
        with tempfile.TemporaryDirectory() as here:
            print(f"  {time.strftime('%H:%M:%S')} {name} begins", flush=True)
            began = time.perf_counter()
            alone = self.chosen.executor == "ray" or without is not None
            run = self._in_a_process if alone else self._here
            done = run(side, without, Path(here))
            whole = time.perf_counter() - began
            self.whole.setdefault(name, []).append(whole)
        self.done[name] = done
        print(f"  {name}: {done.seconds:.1f} s; with imports and Ray {whole:.1f} s", flush=True)
        return done.seconds

    def _here(self, side: str, _without: str | None, here: Path) -> Done:
        """For tests without Ray, whose seconds mean nothing."""
        return run_side(self.chosen, side, self.folder, here)

    def _in_a_process(self, side: str, without: str | None, here: Path) -> Done:
        result = here / "done.json"
        command = [sys.executable, __file__, "--side", side, "--result", str(result)]
        command += ["--folder", str(self.folder), *self._size()]
        command += ["--without", without] if without else []
        self._run(command, here)
        return Done.read(result)

    def _size(self) -> list[str]:
        names = ("recipe", "epochs", "levels", "photos", "classes", "executor")
        given = {n: getattr(self.chosen, n) for n in names}
        return [part for n, v in given.items() if v is not None for part in (f"--{n}", str(v))]

    @staticmethod
    def _run(command: list[str], here: Path) -> None:
        """Wait for it, with a sign of life now and then."""
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        began, said = time.perf_counter(), here / "said.txt"
        with said.open("w") as out:
            process = subprocess.Popen(command, cwd=here, env=environment, stdout=out, stderr=out)
        while process.poll() is None:
            try:
                process.wait(ALIVE_S)
            except subprocess.TimeoutExpired:
                print(f"    {time.perf_counter() - began:.0f} s", flush=True)
        if process.returncode:
            raise SystemExit(said.read_text(errors="replace")[-6000:])


def check(done: dict[str, Done], tolerance: float) -> None:
    """All sides did the same; the strong peer's accuracies are ours exactly."""
    us = done["ours"]
    for name, them in done.items():
        require(them.counts == us.counts, f"images, updates or epochs of {name}")
        apart = abs(mean(them.accuracies.values()) - mean(us.accuracies.values()))
        require(apart <= tolerance, f"mean accuracy of {name} is {apart:.3f} away")
    if "strong" in done:
        require(done["strong"].accuracies == us.accuracies, "accuracies of the strong peer")


def against_peers(
    runs: Sides, peers: list[str], rounds: int, chosen: argparse.Namespace
) -> list[dict[str, Any]]:
    """Rows of our seconds over those of some peers, all in the same rounds."""
    names = ("ours", *peers)
    ways = {name: lambda name=name: runs.seconds(name, name) for name in names}
    found = alternate(ways, rounds)
    done = {name: runs.done[name] for name in names}
    check(done, TOLERANCE[chosen.recipe])
    shown = sides(found)
    accuracies = {name: f"{mean(d.accuracies.values()):.4f}" for name, d in done.items()}
    print(f"  mean accuracy on low-res test: {accuracies}")
    details = {
        "sides": shown,
        "with imports and Ray's start, s": {n: median(runs.whole[n]) for n in names},
        "images": {name: d.images for name, d in done.items()},
        "mean accuracy on low-res test": accuracies,
        "size": f"{len(done['ours'].counts)} cells, epochs a stage: {chosen.epochs}"
        + (f", classes: {chosen.classes}" if chosen.classes else ""),
        "ours in parts, s": done["ours"].parts,
    }
    return [
        row(f"{benchmark_of(chosen)}/{name}", ratios(found["ours"], found[name]), **details)
        for name in peers
    ]


def benchmark_of(chosen: argparse.Namespace) -> str:
    if chosen.recipe == "demo":
        return "grid_peers"
    return "grid_peers_cars" if chosen.classes else "grid_peers_quarter"


def record_of(chosen: argparse.Namespace) -> str:
    """The name of what is written: a run of some peers leaves the others' record alone."""
    if chosen.peers == list(PEERS):
        return benchmark_of(chosen)
    return "_".join([benchmark_of(chosen), *(chosen.peers or ["factors"])])


def factors(runs: Sides, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Times the seconds with each choice undone alone."""
    ways = {"ours": lambda: runs.seconds("ours", "ours")}
    for choice in chosen.factors:
        ways[choice] = lambda choice=choice: runs.seconds(choice, "ours", choice)
    found = alternate(ways, chosen.factor_rounds)
    check({name: runs.done[name] for name in ways}, TOLERANCE[chosen.recipe])
    shown = sides(found)
    return [
        row(
            f"{benchmark_of(chosen)}/without {c}", ratios(found[c], found["ours"]), seconds=shown[c]
        )
        for c in chosen.factors
    ]


def parse() -> argparse.Namespace:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--recipe", choices=["demo", "table2-cars-small"], default="demo")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--levels", type=int, default=8, help="of the grid; 8 are 79 cells")
    parser.add_argument("--plain-levels", type=int, default=4, help="23 cells")
    parser.add_argument("--photos", type=int, default=480, help="drawn, of each split")
    parser.add_argument("--classes", type=int, help="of real photos; all without it")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--plain-rounds", type=int, default=1, help="against tune and script")
    parser.add_argument("--factors", nargs="*", choices=WITHOUT, default=list(WITHOUT))
    parser.add_argument("--factor-levels", type=int, default=3, help="14 cells")
    parser.add_argument("--factor-rounds", type=int, default=1)
    parser.add_argument("--executor", choices=["ray", "inline"], default="ray")
    for name in ("--side", "--without"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--folder", "--result"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def cut_to(chosen: argparse.Namespace, levels: int) -> argparse.Namespace:
    return argparse.Namespace(**vars(chosen) | {"levels": min(chosen.levels, levels)})


def main() -> None:
    chosen = parse()
    if chosen.side is not None:
        run_side(chosen, chosen.side, chosen.folder, Path.cwd()).write(chosen.result)
        return
    few, fewest = cut_to(chosen, chosen.plain_levels), cut_to(chosen, chosen.factor_levels)
    groups: list[tuple[tuple[str, ...], argparse.Namespace, int]]
    groups = [(("strong",), chosen, chosen.rounds), (("tune", "script"), few, chosen.plain_rounds)]
    if (few.levels, few.plain_rounds) == (chosen.levels, chosen.rounds):
        groups = [(PEERS, chosen, chosen.rounds)]  # ours serves them all
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        for group, cut, rounds in groups:
            peers = [name for name in group if name in chosen.peers]
            rows += against_peers(Sides(cut, photos), peers, rounds, cut) if peers else []
            write(record_of(chosen), rows, chosen.out)
        if chosen.factors:
            rows += factors(Sides(fewest, photos), fewest)
            write(record_of(chosen), rows, chosen.out)


if __name__ == "__main__":
    main()
