"""Blocks of photos made by Ray Data on any node: the only module that knows Ray Data.

Two pipelines: one that prepares views, on all CPUs, before stages run; and one that feeds a running
stage. A pipeline inside a Tune trial deadlocks when trials hold every CPU; so the second runs only
on CPUs of the trial's own placement group, which Ray gives to a trial whole or not at all.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from trainables.errors import BusyError
from trainables.listing import EDGES
from trainables.memory import keep_freed_memory
from trainables.photo_blocks import Block, BlockTask, make_block, make_blocks
from trainables.streamed import BLOCK_BYTES

#: Ray Data's own pauses, 0.1 s until it sees that a task has ended and 1 s until it knows how many
#: CPUs there are, would cost a third of a task of half a second.
LOOKS_EVERY_S, COUNTS_EVERY_S = 0.05, 0.1
#: Of one reserved CPU, in memory at a time: being made, waiting, being taken.
BLOCKS_A_CPU = 4
#: Of the same photos, with their process or node; Ray Data of itself tries for ever, in silence.
MOST_LOSSES = 5


def ray_is_up() -> bool:
    """Whether this process is connected to a cluster; looks without importing Ray."""
    is_initialized = getattr(sys.modules.get("ray"), "is_initialized", None)
    return is_initialized is not None and is_initialized()  # None while a thread imports it


def n_cpus_of_cluster() -> int:
    """Of all nodes that are there now."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


def blocks_by_ray(photos: Block, work: Any, block_size: int, **arguments: Any) -> Iterator[Block]:
    """Let all nodes work; blocks arrive as they get ready, a bounded number in memory.

    Args:
        photos: columns, one place a photo.
        work: makes a block of such columns, or several of its parts, on a worker.
        block_size: photos of one task.
        arguments: handed to `work`.
    """
    import ray.data  # costs seconds, and only large sets need it

    _silence(ray.data.DataContext.get_current())
    look_often()
    # not `from_items`: it would turn columns into records and back, photo by photo
    dataset = ray.data.from_blocks(_blocks(photos, block_size))
    yield from _made(dataset, work, fn_kwargs=arguments)


def _made(dataset: Any, work: Any, **options: Any) -> Iterator[Block]:
    """Blocks, until one has been lost too often."""
    from ray.exceptions import OutOfMemoryError, WorkerCrashedError

    with warnings.catch_warnings():  # Ray 2.60 names no other way for these options
        warnings.simplefilter("ignore")
        made = dataset.map_batches(work, batch_size=None, max_retries=MOST_LOSSES, **options)
    try:
        yield from cast("Iterator[Block]", made.iter_batches(batch_size=None, batch_format="numpy"))
    except (OutOfMemoryError, WorkerCrashedError):
        raise BusyError(
            f"the process that reads photos has died {MOST_LOSSES + 1} times over the same ones: "
            "most likely too little memory is free; run the same command again when there is more"
        ) from None


def _blocks(photos: Block, block_size: int) -> list[Any]:
    from ray.data.block import BlockAccessor

    starts = range(0, len(next(iter(photos.values()))), block_size)
    parts = (
        {name: column[at : at + block_size] for name, column in photos.items()} for at in starts
    )
    return [BlockAccessor.batch_to_block(part) for part in parts]


def make_blocks_on_worker(batch: Block, task: BlockTask) -> Iterator[Block]:
    """`make_blocks` in a process that has one CPU; into the task's maps where it has them."""
    _alone_on_a_cpu()
    yield from make_blocks(batch, task if node() == task.node else replace(task, maps=()))


def _alone_on_a_cpu() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()


def node() -> str:
    """Of this process, by Ray's name; empty where no cluster is."""
    if not ray_is_up():
        return ""
    import ray

    return ray.get_runtime_context().get_node_id()


def stream_by_ray(batches: Iterator[Block], task: BlockTask, *, n_cpus: int) -> Iterator[Block]:
    """Feed the stage of this trial: blocks in their order, a bounded number in memory.

    Args:
        batches: what `make_block` is told.
        task: what to make of them.
        n_cpus: of the trial's placement group, kept for this; so many tasks run at a time.
    """
    import ray.data
    from ray.util import get_current_placement_group

    context = ray.data.DataContext.get_current()
    _silence(context)
    look_often()
    where = _on_reserved_cpus(get_current_placement_group(), n_cpus)
    _bound(context, where, n_cpus)
    # not `from_arrow`: it runs a task a table, on a CPU that nothing has reserved
    dataset = ray.data.from_blocks([_table(batch) for batch in batches])
    work: Any = _make_block_of_table  # Ray's type of functions knows no `fn_kwargs`
    kept = {"num_cpus": 1, "scheduling_strategy": where}
    yield from _made(dataset, work, batch_format="pyarrow", fn_kwargs={"task": task}, **kept)


def _on_reserved_cpus(group: Any, n_cpus: int) -> Any:
    """The trial's group as Ray Data shall see it: the CPUs kept for data, and memory for blocks."""
    from ray.util.placement_group import PlacementGroup
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    # Ray Data takes half of a memory for its own, so that `_bound` is what bounds
    share = {"CPU": 1.0, "object_store_memory": 2.0 * BLOCKS_A_CPU * BLOCK_BYTES}
    return PlacementGroupSchedulingStrategy(PlacementGroup(group.id, [share] * n_cpus))


def _bound(context: Any, where: Any, n_cpus: int) -> None:
    """Blocks come in order, and no more of them are made ahead than is said here."""
    import ray.data

    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
        cpu=n_cpus, gpu=0, object_store_memory=n_cpus * BLOCKS_A_CPU * BLOCK_BYTES
    )
    with warnings.catch_warnings():  # for what `map_batches` is given, too, but the limits need it
        warnings.simplefilter("ignore")
        context.scheduling_strategy = context.scheduling_strategy_large_args = where


def _table(batch: Block) -> Any:
    """A batch as Ray Data takes it in."""
    import pyarrow as pa

    edges = {name: batch["box"][:, number] for number, name in enumerate(EDGES)}
    return pa.table({"row": batch["row"], "path": batch["path"], **edges})


def _make_block_of_table(table: Any, task: BlockTask) -> Block:
    batch = {name: table[name].to_numpy() for name in ("row", "path")}
    batch["box"] = np.stack([table[name].to_numpy() for name in EDGES], axis=1)
    _alone_on_a_cpu()
    return make_block(batch, task)


def look_often() -> None:
    """Shorten Ray Data's pauses in this process; it has no setting for them."""
    with suppress(ImportError):
        from ray.data._internal.execution import streaming_executor_state as executor
        from ray.data._internal.execution.resource_manager import ResourceManager

        executor.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = LOOKS_EVERY_S
        setattr(ResourceManager, "GLOBAL_LIMITS_UPDATE_INTERVAL_S", COUNTS_EVERY_S)  # noqa: B010


def _silence(context: Any) -> None:
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
