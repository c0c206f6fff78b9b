"""Two runs on one store at the same time: every stage is trained once in all."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd

from tests.faults import runner
from tests.faults.gold import assert_nothing_is_held, weights_of


def started(root: Path, name: str) -> list[str]:
    lines = (root / name / "events.jsonl").read_text().splitlines()
    return [e["key"] for e in map(json.loads, lines) if e["event"] == "stage_start"]


def test_f13_m06_two_drivers_train_each_stage_once_and_both_tables_are_whole(
    golden, gold, tmp_path
):
    shutil.copytree(golden[0] / "data", tmp_path / "data")
    names = ("small", "other")
    processes = [runner.start(tmp_path, recipe=runner.small(name=name)) for name in names]
    for name, process in zip(names, processes, strict=True):
        ended = runner.end(process, runner.printed(tmp_path, name))
        assert ended.status == 0, ended.printed
    counts = Counter(key for name in names for key in started(tmp_path, name))
    assert counts == dict.fromkeys(gold.weights, 1)
    assert weights_of(tmp_path) == gold.weights
    first, second = (pd.read_parquet(tmp_path / n / "results.parquet") for n in names)
    columns = ["cell", "status", "accuracy_low", "stage_key"]
    pd.testing.assert_frame_equal(first[columns], second[columns])
    assert_nothing_is_held(tmp_path)
