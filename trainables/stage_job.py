"""A stage as it is handed to the process that runs it."""

from pathlib import Path

from trainables.bucket import bucket, local_root
from trainables.entry import Entry, read_entry
from trainables.spec import Spec, StageSpec, ViewSpec
from trainables.store import Store


class StageJob(Spec):
    """A stage plus where and how it runs; only `spec` and `evaluations` decide numbers.

    `copy_of` is the address of a bucket that `store` and `data` are copies of on the driver's
    machine; another machine has its own. Photos of the data sets (keys) in `streamed` are read
    while it trains, under Tune by `data_cpus` tasks at a time on CPUs reserved for them.
    """

    key: str
    name: str
    spec: StageSpec
    evaluations: tuple[ViewSpec, ...]
    store: str
    data: str
    copy_of: str | None = None
    teacher_folder: str | None = None
    threads: int = 1
    device: str = "cpu"
    streamed: tuple[str, ...] = ()
    data_cpus: int = 0
    stop_file: str | None = None
    record: dict[str, str] = {}

    def here(self) -> "StageJob":
        """The job with the folders of this machine."""
        if self.copy_of is None:
            return self
        root = local_root(self.copy_of).absolute()
        folders = {"store": str(root / "store"), "data": str(root / "data")}
        return self.model_copy(update=folders)

    def teacher(self) -> Entry | None:
        """The teacher's entry, or None where its folder does not hold it."""
        if self.spec.teacher is not None and self.copy_of is not None:
            return Store(Path(self.store)).find(self.spec.teacher)
        entry = None if self.teacher_folder is None else read_entry(Path(self.teacher_folder))
        return entry if entry is not None and entry.key == self.spec.teacher else None

    def stop_requested(self, *, at_epoch: bool = False) -> bool:
        """Whether the driver asks stages to end; a bucket is asked once an epoch only."""
        if self.stop_file is None:
            return False
        if self.copy_of is None or Path(self.stop_file).exists():
            return Path(self.stop_file).exists()
        return at_epoch and bucket(self.copy_of).read(stop_object(self.stop_file)) is not None


def stop_object(stop_file: str) -> str:
    """What stands for a run's stop file in a bucket."""
    file = Path(stop_file)
    return f"{file.parent.name}/{file.name}"
