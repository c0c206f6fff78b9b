"""The index of a data set as one file, for stages that read photos themselves.

With `data.mode: stream` no pixels are prepared: the driver writes this file under `<root>/data`,
and every process that reads photos finds paths, boxes, labels and splits in it.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables.bucket import original_of
from trainables.disk import replace_file
from trainables.errors import DataError
from trainables.index import Index
from trainables.spec import DataSpec

if TYPE_CHECKING:
    import pyarrow as pa

EDGES = ("left", "top", "right", "bottom")
#: In the file's metadata: what is no column, and its checksum; columns have their own.
FACTS, CHECKSUM = b"listing", b"listing.sha256"


@dataclass(frozen=True)
class Listing:
    """An index and the `data` that it was read with; `index.root` is the same on all nodes."""

    index: Index
    data: DataSpec


def listing_file(data_root: Path, data_key: str) -> Path:
    """Where the listing of a data set lies or would lie."""
    return data_root / f"index-{data_key[:16]}.parquet"


def write_listing(index: Index, data: DataSpec, data_key: str, data_root: Path) -> Path:
    """Write the listing in one step, and to the bucket where the root is a copy of one.

    Args:
        index: of the data set.
        data: that it was read with.
        data_key: its fingerprint.
        data_root: `<root>/data`.
    """
    import pyarrow as pa  # only here: batches are made without it, too
    import pyarrow.parquet as pq

    facts = {
        "data_key": data_key,
        "dataset": index.dataset,
        "root": str(index.root.absolute()),
        "class_names": index.class_names,
        "data": data.model_dump(mode="json"),
    }
    columns = {"path": index.paths, "label": index.labels, "split": index.splits.astype(object)}
    edges = {name: index.boxes[:, number] for number, name in enumerate(EDGES)}
    said = json.dumps(facts).encode()
    metadata = {FACTS: said, CHECKSUM: _sha256(said)}
    table = pa.table(columns | edges).replace_schema_metadata(metadata)
    file = listing_file(data_root, data_key)
    original = original_of(file)

    def write(aside: Path) -> None:
        pq.write_table(table, aside, write_page_checksum=True)
        if original is not None:
            original.bucket.put(aside, original.path)

    replace_file(file, write)
    return file


def read_listing(data_root: Path, data_key: str) -> Listing:
    """Read a listing; where the root is a copy of a bucket, the newest one of there.

    Raises:
        DataError: when there is none, or it is damaged or of another data set.
    """
    from pyarrow import ArrowException

    file = listing_file(data_root, data_key)
    original = original_of(file)
    try:
        if original is not None:
            data_root.mkdir(parents=True, exist_ok=True)
            original.bucket.get(original.path, file)
        key, listing = _parsed(file, file.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, ArrowException) as fault:
        raise DataError(
            f"the list of photos {file} cannot be used ({fault}); run prepare again"
        ) from None
    if key != data_key:
        raise DataError(f"{file} lists another data set; delete it and run prepare again")
    return listing


@lru_cache(maxsize=2)
def _parsed(file: Path, changed_ns: int) -> tuple[str, Listing]:
    """A listing and its key, read once in a process until the file changes."""
    import pyarrow.parquet as pq

    del changed_ns
    table = pq.read_table(file, page_checksum_verification=True)
    metadata = table.schema.metadata or {}
    said, checksum = metadata[FACTS], metadata[CHECKSUM]
    if checksum != _sha256(said):
        raise ValueError("it was changed")
    facts = json.loads(said)
    data = DataSpec.model_validate_json(json.dumps(facts["data"]))
    return facts["data_key"], Listing(_index(table, facts), data)


def _sha256(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _index(table: "pa.Table", facts: dict) -> Index:
    return Index(
        dataset=facts["dataset"],
        root=Path(facts["root"]),
        paths=tuple(table["path"].to_pylist()),
        labels=table["label"].to_numpy(),
        boxes=np.stack([table[name].to_numpy() for name in EDGES], axis=1),
        splits=np.array(table["split"].to_pylist()),
        class_names=tuple(facts["class_names"]),
    )
