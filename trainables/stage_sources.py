"""Where the photos of a stage come from: each of its views, opened once in a process."""

import dataclasses
from functools import lru_cache
from pathlib import Path

import torch

from trainables.batches import AnySource, StreamedSource, open_source
from trainables.spec import ViewSpec
from trainables.stage_job import StageJob
from trainables.streamed import Blocks, blocks_here, streamed_view
from trainables.views import open_view


def source_of(job: StageJob, view: ViewSpec, blocks: Blocks = blocks_here) -> AnySource:
    """The pixels of a view, opened once in a process; `blocks` makes them where they stream."""
    streams = view.data_key in job.streamed
    source = _opened(job.data, view.model_dump_json(), job.device, streams=streams)
    if isinstance(source, StreamedSource):
        return dataclasses.replace(source, blocks=blocks)
    return source


@lru_cache(maxsize=16)
def _opened(data: str, view: str, device: str, *, streams: bool) -> AnySource:
    spec = ViewSpec.model_validate_json(view)
    opened = (streamed_view if streams else open_view)(Path(data), spec)
    return open_source(opened, torch.device(device))
