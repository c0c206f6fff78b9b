"""The networks that a stage begins with: a fresh one, its parent's weights, its teacher."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from trainables.entry import read_entry
from trainables.errors import ConfigError
from trainables.fingerprint import seed_of
from trainables.models import Network, build_model
from trainables.models.weights import load_all, load_body
from trainables.spec import StageSpec
from trainables.stage_files import WEIGHTS
from trainables.stage_job import StageJob


def fresh_network(spec: StageSpec) -> Network:
    """A network with the first weights of the stage's seed."""
    torch.manual_seed(seed_of("weights", spec.seed))
    return build_model(spec.model, spec.n_classes)


def load_parent(network: Network, job: StageJob, folder: Path | None) -> None:
    """Take the parent's weights, without its classifier where the stage has one of its own.

    Args:
        network: to load them into.
        job: of the stage.
        folder: the parent's entry in the store.

    Raises:
        ConfigError: when it does not hold the parent.
    """
    entry = None if folder is None else read_entry(folder)
    if entry is None or entry.key != job.spec.parent:
        raise ConfigError(f"{folder or job.store} does not hold the parent of {job.name}")
    load = load_body if job.spec.head == "fresh" else load_all
    load(network, load_file(entry.path(WEIGHTS)))


def teacher_of(job: StageJob) -> Network | None:
    """The network that the stage learns from; None where its spec names none.

    Raises:
        ConfigError: when the teacher is not where the job says, or nowhere.
    """
    if job.spec.teacher is None:
        return None
    entry = job.teacher()
    if entry is None:
        where = job.teacher_folder or job.store
        raise ConfigError(f"{where} does not hold the teacher of {job.name}")
    teacher = fresh_network(job.spec)
    load_all(teacher, load_file(entry.path(WEIGHTS)))
    return teacher
