"""`f2c prepare ... --verify`: every photo read once, all that is wrong in one report."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from trainables.audit import Audit, audit
from trainables.errors import DataError
from trainables.index import Index

SHOWN = 20
REPORT = "verified.txt"
PARTS = (
    ("bad", "photos that cannot be used"),
    ("shared", "photos that are in two splits, pixel for pixel"),
    ("doubtful", "photos whose decoder complains; look at them"),
    ("similar", "photos of two splits that look alike; look at them"),
)


def verify(index: Index, folder: Path, console: Console) -> None:
    """Read all photos of an index, print what is wrong, write all of it to a file.

    Args:
        index: of files, after its annotations were checked.
        folder: for `verified.txt`.
        console: to print on.

    Raises:
        DataError: when a photo is bad, or in two splits.
    """
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading photos", total=len(index))
        found = audit(index, lambda done, total: bar.update(task, completed=done, total=total))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).write_text("\n".join(_lines(found, most=None)) + "\n")
    text = "\n".join(_lines(found, most=SHOWN))
    if found.bad or found.shared:
        raise DataError(
            f"{text}\nreplace the bad photos, leave each photo in one split, and run the same "
            f"command again; all of it is in {folder / REPORT}"
        )
    console.print(text)


def _lines(found: Audit, most: int | None) -> list[str]:
    lines = [f"{found.n_photos} photos read, {len(found.bad)} bad"]
    for name, heading in PARTS:
        listed = getattr(found, name)
        if not listed:
            continue
        lines += [f"{heading} ({len(listed)}):", *(f"  {line}" for line in listed[:most])]
        if most is not None and len(listed) > most:
            lines.append(f"  and {len(listed) - most} more")
    if found.n_repeated:
        lines.append(f"{found.n_repeated} photos repeat another one of their split")
    return lines
