"""One stage in one process, from its parent's weights to its commit. Knows no Ray.

The Tune trainable and the inline executor both drive it: restore, advance epoch by epoch, commit.
"""

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from trainables.batches import AnySource, epoch_batches
from trainables.budget import budget_of
from trainables.entry import Entry
from trainables.errors import describe
from trainables.evaluate import Predictions, StoppedError, evaluate
from trainables.faults import fault_point
from trainables.fingerprint import evaluation_key, key_of, seed_of
from trainables.models.on_gpu import check_precision, to_device
from trainables.models.weights import load_all
from trainables.spec import ViewSpec
from trainables.stage_files import (
    MOMENTUM,
    WEIGHTS,
    images_per_s,
    machine_facts,
    momentum_of,
    set_momentum,
    write_evaluations,
    write_record,
    write_tensors,
)
from trainables.stage_job import StageJob
from trainables.stage_networks import fresh_network, load_parent, teacher_of
from trainables.stage_sources import source_of
from trainables.store import Store
from trainables.streamed import Blocks, blocks_here
from trainables.subset import subset_rows, training_labels
from trainables.teacher import frozen, interpolate
from trainables.train import Epoch, chance_of, divergence, make_optimizer, train_stage
from trainables.views import names_of_tests, view_name

#: Epochs shorter than this share a progress checkpoint, so that saving never dominates training.
PROGRESS_EVERY_S = 1.0
#: A photo is tested so many times as fast as it is trained on, about.
TESTING_SPEEDUP = 3.0


class StageRun:
    """The state of one running stage; `blocks` makes its photos where they are streamed."""

    def __init__(self, job: StageJob, blocks: Blocks = blocks_here) -> None:
        self.job = job = job.here()
        self._blocks = blocks
        self.store = Store(Path(job.store))
        self.status = "running"
        self._reason = ""
        self.seconds = {"load": 0.0, "train": 0.0, "evaluate": 0.0, "store": 0.0}
        self.epochs: list[dict[str, Any]] = []
        self.predictions: dict[str, Predictions] = {}
        self.trained = False
        self.told_to_end = False
        self.lost_device = ""
        self._started_at = time.time()
        self._saved_at = time.perf_counter()
        self._loop: Iterator[Epoch] | None = None
        torch.set_num_threads(job.threads)
        self._device = torch.device(job.device)

    def restore(self, folder: Path | None) -> None:
        """Take the parent's weights, or where this stage itself was left or finished.

        Args:
            folder: the parent's entry in the store; None starts from random weights.
        """
        began = time.perf_counter()
        check_precision(self._device, self.job.spec.training.precision)
        done = self.store.find(self.job.key)
        progress = None if done else self.store.newest_progress(self.job.key, self.job.name)
        self._network = fresh_network(self.job.spec)
        if done is not None:
            load_all(self._network, load_file(done.path(WEIGHTS)))
        elif progress is not None:
            load_all(self._network, load_file(progress.path(WEIGHTS)))
            self.epochs = progress.json("epochs.json")
        elif folder is not None or self.job.spec.parent is not None:
            load_parent(self._network, self.job, folder)
        to_device(self._network.module, self._device)
        if done is None:
            self._begin(progress)
        self.seconds["load"] += time.perf_counter() - began

    def restore_or_fail(self, folder: Path | None) -> None:
        """Restore; a fault becomes the stage's status, since an exception would cost the actor."""
        try:
            self.restore(folder)
        except Exception as error:
            self._reason = self._fault(error)
            self.status = "failed"

    def _fault(self, error: Exception) -> str:
        """An error in words; after some of a GPU's the process cannot use it any more."""
        reason = describe(error)
        if isinstance(error, torch.AcceleratorError) and "out of memory" not in str(error):
            self.lost_device = reason
        return reason

    def _begin(self, progress: Entry | None) -> None:
        spec, teacher = self.job.spec, teacher_of(self.job)
        if teacher is not None and spec.objective.kind == "interpolate":
            interpolate(self._network, teacher, spec.objective.teacher_share)
            return
        sources = [source_of(self.job, view, self._blocks) for view in spec.views]
        rows = subset_rows(spec.subset, sources[0].view.labels_N)
        labels_N = torch.from_numpy(training_labels(spec.subset, sources[0].view.labels_N))
        sources[0] = dataclasses.replace(sources[0], labels_N=labels_N.to(self._device))
        self._optimizer = make_optimizer(self._network, spec)
        if progress is not None:
            set_momentum(self._network.module, self._optimizer, progress.path(MOMENTUM))
        self._loop = train_stage(
            self._network,
            self._optimizer,
            spec,
            lambda epoch: epoch_batches(spec, sources, rows, seed_of(chance_of(spec), epoch)),
            start=(len(self.epochs), self.epochs[-1]["step"] if self.epochs else 0),
            teacher=None if teacher is None else frozen(teacher, self._device),
            should_stop=self._should_stop,
        )

    def _should_stop(self) -> bool:
        fault_point("batch")
        return self._is_told()

    def _is_told(self) -> bool:
        return self.told_to_end or self.job.stop_requested()

    def advance(self) -> dict[str, Any]:
        """Train one epoch; after the last one, evaluate. Never raises: the status tells.

        Returns:
            The epoch's record, with `status` running, done, diverged, failed or stopped.
        """
        if self.status != "running":
            return self._result({"reason": self._reason})
        try:
            return self._advance()
        except FloatingPointError as error:
            return self._end("diverged", str(error))
        except Exception as error:  # it would cost Tune its actor
            return self._end("failed", self._fault(error))

    def _advance(self) -> dict[str, Any]:
        stop = self._loop is not None and self.job.stop_requested(at_epoch=True)
        epoch = None if self._loop is None or stop else next(self._loop, None)
        if epoch is None:
            if self._loop is not None and not self._budget_spent():
                return self._end("stopped", "stopped on request; the running epoch was dropped")
            return self._finish({})
        self.trained = True
        self.seconds["train"] += epoch.seconds
        record = dataclasses.asdict(epoch)
        self.epochs.append(record)
        if reason := divergence(epoch, self.job.spec, self.epochs[0]["loss"]):
            return self._end("diverged", reason, record)
        if self._budget_spent():
            return self._finish(record)
        self._save_progress()
        return self._result(record)

    def _budget_spent(self) -> bool:
        n_epochs, n_steps = budget_of(self.job.spec)
        return bool(self.epochs) and (
            self.epochs[-1]["epoch"] >= n_epochs or self.epochs[-1]["step"] >= n_steps
        )

    def _finish(self, record: dict[str, Any]) -> dict[str, Any]:
        sources = {v: source_of(self.job, v, self._blocks) for v in self.job.evaluations}
        if self.trained and self._is_long(list(sources.values())):
            self._save_progress()
        began = time.perf_counter()
        try:
            for view, source in sources.items():
                tested = evaluate(self._network, source, self.job.spec, self._is_told)
                self.predictions[key_of(view)] = tested
        except StoppedError:
            return self._stopped_in_tests(record)
        self.seconds["evaluate"] += time.perf_counter() - began
        self.status = "done"
        return self._result(record)

    def _is_long(self, tests: list[AnySource]) -> bool:
        """Whether the tests take so long that the last epoch is not left unsaved meanwhile.

        Otherwise a stage's weights are written once, when it is committed.
        """
        rate = TESTING_SPEEDUP * images_per_s(self.epochs)
        return sum(len(test.labels_N) for test in tests) > PROGRESS_EVERY_S * rate

    def _stopped_in_tests(self, record: dict[str, Any]) -> dict[str, Any]:
        self.predictions.clear()
        if self.trained:
            self._saved_at = -math.inf
            self._save_progress()
        return self._end("stopped", "stopped on request in its tests; its epochs are kept", record)

    def _end(
        self, status: str, reason: str, record: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        self.status, self._reason = status, reason
        return self._result((record or {}) | {"reason": reason})

    def _result(self, record: dict[str, Any]) -> dict[str, Any]:
        tested = {
            name: self.predictions[key_of(view)]
            for name, view in names_of_tests(self.job.evaluations).items()
            if key_of(view) in self.predictions
        }
        metrics = {f"accuracy_{name}": p.correct / p.seen for name, p in tested.items()}
        renamed = {"seconds_epoch" if k == "seconds" else k: v for k, v in record.items()}
        account = {"seconds": dict(self.seconds), "started_at": self._started_at}
        return renamed | metrics | account | {"status": self.status}

    def commit(self) -> Path | None:
        """Put a finished (or diverged) stage into the store; anything else leaves no entry.

        Returns:
            The entry's folder.
        """
        began = time.perf_counter()
        if self.status not in ("done", "diverged"):
            return None
        entry = self.store.find(self.job.key)
        if entry is None:
            kind = "stage" if self.status == "done" else "diverged"
            entry = self.store.commit(self.job.key, self.job.name, kind, self._write)
            self.store.drop_progress(self.job.key, self.job.name)
        elif not self.trained:
            self._commit_evaluations(entry)
        self.seconds["store"] += time.perf_counter() - began
        return entry.folder

    def _write(self, folder: Path) -> None:
        if self.status == "done":
            write_tensors(self._network.module.state_dict(), folder / WEIGHTS)
        write_record(folder, self._record(), self.epochs)
        write_evaluations(folder, self._evaluated(self.job.evaluations))

    def _evaluated(self, views: tuple[ViewSpec, ...]) -> list[tuple[AnySource, Predictions]]:
        return [
            (source_of(self.job, view), self.predictions[key_of(view)])
            for view in views
            if key_of(view) in self.predictions
        ]

    def _commit_evaluations(self, stage: Entry) -> None:
        known = stage.json("metrics.json")
        for view in self.job.evaluations:
            if key_of(view) in known:
                continue
            key = evaluation_key(self.job.key, key_of(view))
            name = f"{stage.folder.name}-on-{view_name(view)}"
            found = self._evaluated((view,))
            self.store.commit(key, name, "evaluation", lambda f, e=found: write_evaluations(f, e))

    def _record(self) -> dict[str, Any]:
        return {
            "key": self.job.key,
            "name": self.job.name,
            "status": self.status,
            "spec": self.job.spec.model_dump(mode="json"),
            "started_at": self._started_at,
            "ended_at": time.time(),
            "seconds": self.seconds,
            "images_per_s": images_per_s(self.epochs),
            "threads": self.job.threads,
            "device": self.job.device,
            **machine_facts(),
            **self.job.record,
        }

    def _save_progress(self) -> None:
        now = time.perf_counter()
        if now - self._saved_at < PROGRESS_EVERY_S:
            return
        epoch = self.epochs[-1]["epoch"]
        self.store.save_progress(self.job.key, self.job.name, epoch, self._write_progress)
        self._saved_at = time.perf_counter()
        self.seconds["store"] += self._saved_at - now

    def _write_progress(self, folder: Path) -> None:
        write_tensors(self._network.module.state_dict(), folder / WEIGHTS)
        write_tensors(momentum_of(self._network.module, self._optimizer), folder / MOMENTUM)
        (folder / "epochs.json").write_text(json.dumps(self.epochs))
