"""Mutations prove the tests: each part that keeps a promise is left out; a named test must fail.

python tests/mutations.py [WORD ...]    those whose name holds a word; all without one

Works on a copy of the tracked files; nothing here is changed. `make test-mutations` runs all.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
TESTS_FAILED = 1


@dataclass(frozen=True)
class Mutation:
    """What is left out: text of a file that is there once, what stands there instead, the test."""

    name: str
    file: str
    old: str
    new: str
    test: str


CRASHES = "tests/trainables/test_store_crashes.py"
RUN = "tests/trainables/test_stage_run.py"
MUTATIONS = (
    Mutation(
        "the optimiser's state",
        "trainables/stage_run.py",
        "set_momentum(self._network.module, self._optimizer, progress.path(MOMENTUM))",
        "pass",
        f"{RUN}::test_n04_resuming_at_each_epoch_gives_the_same_weights_bit_for_bit",
    ),
    Mutation(
        "the epoch's order after a resume",
        "trainables/stage_run.py",
        "lambda epoch: epoch_batches(spec, sources, rows, seed_of(chance_of(spec), epoch)),",
        "lambda epoch, first=len(self.epochs): "
        "epoch_batches(spec, sources, rows, seed_of(chance_of(spec), epoch - first)),",
        f"{RUN}::test_n04_resuming_at_each_epoch_gives_the_same_weights_bit_for_bit",
    ),
    Mutation(
        "dropout's chance after a resume",
        "trainables/train.py",
        'torch.manual_seed(seed_of(chance, epoch, "dropout"))',
        "pass",
        f"{RUN}::test_n04_resuming_at_each_epoch_gives_the_same_weights_bit_for_bit",
    ),
    Mutation(
        "the photos that a seed stands for",
        "trainables/subset.py",
        'spec.side == "front"',
        'spec.side != "front"',
        "tests/trainables/test_subset.py::test_a_seed_means_the_same_photos_in_every_version",
    ),
    Mutation(
        "the test that a parent is the parent",
        "trainables/stage_networks.py",
        "entry is None or entry.key != job.spec.parent",
        "entry is None",
        f"{RUN}::test_f08_the_weights_of_another_stage_are_refused",
    ),
    Mutation(
        "fsync",
        "trainables/disk.py",
        "        os.fsync(descriptor)",
        "        pass",
        f"{CRASHES}::test_f11_a_stage_that_was_committed_outlives_every_crash_after_it",
    ),
    Mutation(
        "fsync of the folders above",
        "trainables/disk.py",
        "        fsync(place.parent)",
        "        pass",
        f"{CRASHES}::test_f11_a_stage_that_was_committed_outlives_every_crash_after_it",
    ),
    Mutation(
        "the rename",
        "trainables/committing.py",
        "        temporary.rename(target)",
        "        shutil.copytree(temporary, target)",
        f"{CRASHES}::test_f11_a_crash_at_any_moment_of_a_commit_leaves_the_whole_stage_or_none",
    ),
    Mutation(
        "the checksum test",
        "trainables/entry.py",
        ' and digest(path) == expected["sha256"]',
        "",
        "tests/trainables/test_store.py::test_f05_f06_a_changed_byte_or_a_cut_is_noticed",
    ),
    Mutation(
        "the fall-back to the older progress",
        "trainables/store.py",
        "entry.key == key and entry.whole()",
        "entry.key == key",
        "tests/trainables/test_store.py::test_f10_a_damaged_newer_progress_falls_back_to_the_older",
    ),
    Mutation(
        "the lease",
        "orchestrator/launch.py",
        "if not self.leases.take(key):",
        "if False:",
        "tests/faults/test_two_drivers.py",
    ),
    Mutation(
        "each point of a metric once",
        "orchestrator/mirror.py",
        "if step in child.mirrored:",
        "if False:",
        "tests/faults/test_tracking.py::"
        "test_m08_m10_sync_after_a_kill_tells_the_truth_and_the_run_goes_on",
    ),
    Mutation(
        "weights_only",
        "trainables/models/weights.py",
        'map_location="cpu", weights_only=True)',
        'map_location="cpu", weights_only=False)',
        "tests/test_source.py::test_s03_s04_nothing_in_the_source_can_run_what_it_reads",
    ),
)


def copied(folder: Path) -> Path:
    """The tracked files, as they are now."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if not name.startswith("docs/results/") and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def status_of(test: str, folder: Path) -> int:
    """Pytest's exit status for one test in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "faults or not faults", test]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


def is_noticed(mutation: Mutation, folder: Path) -> bool:
    """Whether the test passes as things are and fails with the part left out."""
    file = folder / mutation.file
    whole = file.read_text()
    if whole.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.file} does not hold {mutation.old!r} once: mend the list")
    if status_of(mutation.test, folder) != 0:
        raise SystemExit(f"{mutation.test} fails by itself")
    file.write_text(whole.replace(mutation.old, mutation.new))
    try:
        return status_of(mutation.test, folder) == TESTS_FAILED
    finally:
        file.write_text(whole)


def main(words: list[str]) -> int:
    """Run the mutations, print a line each; 0 when every one was noticed."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    missed = []
    with tempfile.TemporaryDirectory(prefix="f2c-mutations-") as scratch:
        folder = copied(Path(scratch))
        for mutation in chosen:
            noticed = is_noticed(mutation, folder)
            print(f"{'noticed' if noticed else 'MISSED':8} without {mutation.name}", flush=True)  # noqa: T201
            missed += [] if noticed else [mutation.name]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutations noticed")  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
