"""A small experiment whose parts tests can replace."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.experiment import Experiment, Facts
from orchestrator.recipe import Recipe

GRID = {"high": list(range(9)), "low": list(range(1, 9)), "mixed": list(range(2, 9))}


@pytest.fixture
def experiment() -> Callable[..., Experiment]:
    """Make an experiment from recipe fields, without photos."""

    def make(n_train: int = 8144, weights_key: str | None = "w" * 64, **fields: Any) -> Experiment:
        given = {"name": "x", "table": "table2", "cells": GRID} | fields
        return Experiment(
            Recipe.model_validate(given, strict=False),
            Facts(data_key="d" * 64, n_train=n_train, n_evaluate=8041, n_classes=196),
            weights_key,
        )

    return make
