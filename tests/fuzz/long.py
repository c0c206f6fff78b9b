"""The long run of the fuzzing tests, and how much of each parser they and its unit tests execute.

python tests/fuzz/long.py --examples 100000 [--only WORD ...] [--to docs/results/fuzz]

Works in batches of examples, each with a seed of its own, and notes each one that has passed, so it
can be ended at any moment and goes on from there; what was found with other sources is dropped.
`README.md` in the folder is written anew after each batch.
"""

import argparse
import datetime
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.fuzz.parsers import PARSERS, Parser

REPOSITORY = Path(__file__).parents[2]
BATCH = 5000
#: Of coverage, which slows everything down.
COVERED_EXAMPLES = 1500
WANTED = 0.95
LIBRARIES = ("hypothesis", "pillow", "pyyaml", "pydantic", "pyarrow", "pandas", "scipy", "torch")


PAGE = """# Parsers against changed and random files

Written by `make test-fuzz EXAMPLES=100000`, which goes on from here when it was ended. Every
example is a valid file with bytes or values exchanged, or bytes of any kind. It has to be read, or
refused with the documented error, in less than 2 s of computing and 200 MB more memory, with
nothing written outside its folder, no process started and no connection made.

Last written {date}, {versions}.

| parser | tests | examples each | seeds | per second | failed | lines | branches |
| :-- | --: | --: | :-- | --: | --: | --: | --: |
{table}

Lines and branches: what the fuzzing tests (with {covered} examples) and the parser's unit tests
execute together. `results.json` names the branches that are missing.
"""


class Record:
    """What has passed so far, one entry a parser, in `results.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "results.json"
        self.found: dict[str, Any] = {}
        if self._file.exists():
            self.found = json.loads(self._file.read_text())

    def of(self, parser: Parser) -> dict[str, Any]:
        """The entry of a parser, an empty one where its sources have changed since."""
        sources = sources_of(parser)
        entry = self.found.get(parser.name)
        if entry is None or entry["sources"] != sources:
            entry = {"sources": sources, "seeds": [], "examples": 0, "seconds": 0.0}
            self.found[parser.name] = entry
        return entry

    def save(self) -> None:
        """Write it, and the page."""
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        python = ".".join(map(str, sys.version_info[:3]))
        versions = {"python": python} | {name: version(name) for name in LIBRARIES}
        self.found |= {"date": today, "versions": versions}
        self._file.write_text(json.dumps(self.found, indent=1, sort_keys=True) + "\n")
        (self._folder / "README.md").write_text(page(self.found))


def sources_of(parser: Parser) -> str:
    """Checksum of what is read, and of what makes the examples."""
    makers = (f"tests/fuzz/{name}.py" for name in ("bounds", "changed", "pickles", "trees"))
    files = sorted({*parser.modules, *parser.fuzz_files, *makers})
    contents = b"".join((REPOSITORY / file).read_bytes() for file in files)
    return hashlib.sha256(contents).hexdigest()[:16]


def pytest(arguments: list[str], examples: int, before: list[str] | None = None) -> str | None:
    """Run tests; what they printed where they failed."""
    command = [sys.executable, *(before or []), "-m", "pytest", "-q", "-x", "--timeout=3600"]
    command += ["-p", "no:cacheprovider", *arguments]
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"F2C_FUZZ_EXAMPLES": str(examples), "PYTHONPATH": paths}
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    return None if ended.returncode == 0 else ended.stdout[-6000:] + ended.stderr[-2000:]


def run_batch(parser: Parser, entry: dict[str, Any], examples: int) -> str | None:
    """One batch under the next seed."""
    seed, began = len(entry["seeds"]), time.monotonic()
    failed = pytest([*parser.fuzz, f"--hypothesis-seed={seed}"], examples)
    if failed is None:
        entry["seeds"].append(seed)
        entry["examples"] += examples
        entry["seconds"] = round(entry["seconds"] + time.monotonic() - began, 1)
    return failed


def cover(parser: Parser, entry: dict[str, Any]) -> str | None:
    """Lines and branches of the parser that the tests execute."""
    if importlib.util.find_spec("coverage") is None:
        raise SystemExit("the table needs the package coverage: uv pip install coverage")
    with tempfile.TemporaryDirectory() as scratch:
        data, report = f"{scratch}/data", Path(scratch) / "report.json"
        include = ",".join(parser.modules)
        before = ["-m", "coverage", "run", "--branch", f"--data-file={data}"]
        before += [f"--include={include}"]
        # those of buckets are marked `faults`, for their time
        marks = ["-m", "not cluster and not gpu and not slow"]
        seeded = [*parser.fuzz, *parser.unit, *marks, "--hypothesis-seed=0"]
        failed = pytest(seeded, COVERED_EXAMPLES, before)
        if failed is not None:
            return failed
        command = ["-m", "coverage", "json", "-q", f"--data-file={data}", "-o", str(report)]
        subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True)
        files = json.loads(report.read_text())["files"]
    entry["coverage"] = {name: _counts(file) for name, file in sorted(files.items())}
    return None


def _counts(file: dict[str, Any]) -> dict[str, Any]:
    names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    missing = [f"{a}->{b}" for a, b in file["missing_branches"]]
    return {name: file["summary"][name] for name in names} | {"missing_branches": missing}


def share(entry: dict[str, Any], what: str) -> float:
    """Of all files of a parser: `lines` or `branches` that were executed."""
    of = {"lines": "num_statements", "branches": "num_branches"}[what]
    files = entry.get("coverage", {}).values()
    whole = sum(file[of] for file in files)
    return sum(file[f"covered_{what}"] for file in files) / whole if whole else float("nan")


def page(found: dict[str, Any]) -> str:
    """The table."""
    rows = [_row(parser, found[parser.name]) for parser in PARSERS if parser.name in found]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    table = "\n".join(rows)
    return PAGE.format(
        date=found["date"], versions=versions, table=table, covered=f"{COVERED_EXAMPLES:,}"
    )


def _row(parser: Parser, entry: dict[str, Any]) -> str:
    seeds, each = entry["seeds"], entry["examples"]
    rate = each * parser.n_tests / entry["seconds"] if entry["seconds"] else float("nan")
    named = f"0 to {seeds[-1]}" if len(seeds) > 1 else "0" if seeds else "none"
    failed = "1" if entry.get("failed") else "0"
    shares = (share(entry, "lines"), share(entry, "branches"))
    lines, branches = ("not measured" if s != s else f"{s:.1%}" for s in shares)  # noqa: PLR0124
    cells = (
        parser.name,
        parser.n_tests,
        f"{each:,}",
        named,
        f"{rate:.0f}",
        failed,
        lines,
        branches,
    )
    return f"| {' | '.join(map(str, cells))} |"


def follow(parser: Parser, record: Record, examples: int) -> bool:
    """Measure coverage once, then go on with batches; whether all has passed."""
    entry = record.of(parser)
    failed = None if "coverage" in entry else cover(parser, entry)
    while failed is None and entry["examples"] < examples:
        failed = run_batch(parser, entry, min(BATCH, examples - entry["examples"]))
        record.save()
        said = f"{parser.name}: {entry['examples']:,} examples, {entry['seconds']:.0f} s"
        print(said, flush=True)  # noqa: T201
    entry["failed"] = failed is not None
    record.save()
    if failed is not None:
        print(failed)  # noqa: T201
    covered = share(entry, "branches")
    if covered < WANTED:
        print(f"{parser.name}: {covered:.1%} of its branches, {WANTED:.0%} are wanted")  # noqa: T201
    return failed is None and covered >= WANTED


def main() -> int:
    """Run what is missing; 0 when every parser has passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", default=[], help="parsers whose name holds a word")
    parser.add_argument("--to", type=Path, default=REPOSITORY / "docs/results/fuzz")
    options = parser.parse_args()
    record = Record(options.to)
    words = options.only
    chosen = [p for p in PARSERS if not words or any(word in p.name for word in words)]
    passed = [follow(each, record, options.examples) for each in chosen]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
