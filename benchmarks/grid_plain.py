"""What a user would write instead: plain Ray Tune as its documentation shows it, and a script.

Float32, torchvision's transforms and a DataLoader over files, a test after every epoch. Optimiser
and rates are ours, so that the accuracies can be compared.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from grid_photos import TestSets, loader_of
from grid_trials import done_of, run_trials
from grid_work import Done, GridWork
from ray import tune
from torch.nn import functional as F

from orchestrator.cluster import local_cpus
from orchestrator.plan import PlannedStage
from trainables.fingerprint import seed_of
from trainables.models import Network, build_model
from trainables.models.weights import load_body, read_weights
from trainables.train import lr_factor, make_optimizer


def first_network(work: GridWork, seed: int) -> Network:
    """Random weights, or the recipe's file under a new head."""
    model = work.recipe.model
    torch.manual_seed(seed_of("weights", seed))
    network = build_model(model, work.experiment.facts.n_classes)
    if model.weights != "none":
        load_body(network, read_weights(Path(model.weights), model))
    return network


def train_epoch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    loader: Any,
    rate_of: Callable[[], float],
) -> dict[str, int]:
    """The usual loop in float32; images and updates."""
    network.module.train()
    seen = updates = 0
    for images, labels in loader:
        rate = rate_of()
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        optimizer.zero_grad()
        F.cross_entropy(network.module(images), labels).backward()
        optimizer.step()
        seen, updates = seen + len(labels), updates + 1
    return {"images": seen, "updates": updates, "epochs": 1}


@torch.no_grad()
def accuracy(network: Network, loader: Any) -> float:
    network.module.eval()
    right = seen = 0
    for images, labels in loader:
        right += int((network.module(images).argmax(1) == labels).sum())
        seen += len(labels)
    return right / seen


def plain_epochs(
    work: GridWork, chain: Sequence[PlannedStage], workers: int, tests: TestSets
) -> Iterator[dict[str, Any]]:
    """A cell, epoch after epoch: train, then test on low-res photos, as tutorials do."""
    network = first_network(work, chain[0].spec.seed)
    for number, stage in enumerate(chain):
        training = stage.spec.training
        optimizer = make_optimizer(network, stage.spec)
        loader = loader_of(work, stage.spec, workers)
        n_epochs, step = training.epochs or 1, 0

        def rate_of(training: Any = training, n_steps: int = n_epochs * len(loader)) -> float:
            nonlocal step
            rate = training.lr * lr_factor(training, step / n_steps)
            step += 1
            return rate

        for epoch in range(n_epochs):
            counted = train_epoch(network, optimizer, loader, rate_of)
            last = epoch + 1 == n_epochs
            tested = {"accuracy_low": accuracy(network, tests.low)}
            if last:
                tested["accuracy_high"] = accuracy(network, tests.high)
            yield counted | tested | {"done": last and number + 1 == len(chain)}


def summed(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last epoch's result, with the counts of all."""
    names = ("images", "updates", "epochs")
    return results[-1] | {name: sum(result[name] for result in results) for name in names}


class Documented(tune.Trainable):
    """As Tune's PyTorch example with a class: a step is an epoch of training and a test."""

    def setup(self, config: dict[str, Any], work: GridWork | None = None) -> None:
        if work is None:
            raise ValueError("made with tune.with_parameters")
        self.work, self.chains = work, list(work.chains().values())
        self.tests = TestSets.of(work, workers=0)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        chain = self.chains[new_config["cell"]]
        self.epochs = plain_epochs(self.work, chain, workers=0, tests=self.tests)
        self.results: list[dict[str, Any]] = []
        return True

    def step(self) -> dict[str, Any]:
        self.results.append(next(self.epochs))
        return summed(self.results)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Left out: it would only cost the peer time."""

    def load_checkpoint(self, checkpoint: dict | str | None) -> None:
        """Never asked for."""


def plain_cell(
    work: GridWork, chain: Sequence[PlannedStage], workers: int, tests: TestSets
) -> dict[str, Any]:
    return summed(list(plain_epochs(work, chain, workers, tests)))


def documented(work: GridWork, _root: Path, executor: str) -> Done:
    """Plain Ray Tune, one trial a cell."""
    tests = TestSets.of(work, workers=0)
    chains = work.chains().values()
    inline = [lambda chain=chain: plain_cell(work, chain, 0, tests) for chain in chains]
    return run_trials(work, Documented, {"work": work}, inline, lambda: None, executor)


def script(work: GridWork, _root: Path, _executor: str) -> Done:
    """One process, cell after cell, all cores; as many loading workers as are fastest."""
    workers = best_workers(work)
    print(f"  the script loads with {workers} workers", flush=True)
    began = time.perf_counter()
    tests = TestSets.of(work, workers)
    chains = work.chains().values()
    results = [plain_cell(work, chain, workers, tests) for chain in chains]
    return done_of(work, time.perf_counter() - began, results)


def best_workers(work: GridWork) -> int:
    """0 or one a core, by two passes over the largest stage's photos."""
    largest = max(work.plan.stages.values(), key=lambda stage: stage.images)
    seconds = {}
    for workers in (0, local_cpus()):
        began = time.perf_counter()
        loader = loader_of(work, largest.spec, workers)
        for _ in range(2):
            for _batch in loader:
                pass
        seconds[workers] = time.perf_counter() - began
    return min(seconds, key=seconds.__getitem__)
