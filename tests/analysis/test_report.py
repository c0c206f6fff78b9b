"""The report of a run: self-contained, truthful where incomplete, safe against markup."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.cost import costs, summary
from analysis.learning import epochs_of, kinds_of
from analysis.photo_cards import shown_cells
from analysis.report import write_report
from orchestrator.recipe_files import load_recipe
from trainables.errors import DataError

EPOCH = {"step": 1, "loss": 1.0, "accuracy": 0.5, "lr": 0.1, "images_seen": 8, "seconds": 1.0}


def stage(form, n_images, parent=None):
    view = {"form": form}
    spec = {
        "views": [view],
        "subset": {"n_images": n_images},
        "model": {"name": "tiny"},
        "parent": parent,
    }
    return {"name": form, "images": 2 * n_images, "parents": [], "spec": spec, "evaluations": []}


PLAN = {
    "stages": {"h": stage("high", 40), "l": stage("low", 40), "hl": stage("low", 40, "h")},
    "cells": {
        "staged_hl/h0-l8/s0": {"stage": "l"},
        "staged_hl/h8-l8/s0": {"stage": "hl"},
    },
}


@pytest.fixture
def frame(strategies):
    cells = strategies.loc[strategies["seed"] == 0].iloc[:2].copy()
    cells["cell"] = list(PLAN["cells"])
    cells["strategy"], cells["table"] = "staged_hl", "table2"
    cells["high_level"], cells["low_level"] = [0, 8], [8, 8]
    cells["stage_key"] = ["l", "hl"]
    return cells


@pytest.fixture
def run(tmp_path, frame, recipe):
    folder = tmp_path / "demo"
    folder.mkdir()
    frame.to_parquet(folder / "results.parquet")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "plan.json").write_text(json.dumps(PLAN))
    events = [
        {"event": "epoch", "key": "h", "record": EPOCH | {"epoch": 1}},
        {"event": "stage_end", "key": "h", "epochs": [EPOCH | {"epoch": n} for n in (1, 2)]},
        {"event": "adopted", "key": "l", "epochs": [EPOCH | {"epoch": 1}]},
    ]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "events.jsonl").write_text(lines + '{"event": "epoch", "key": "h", "rec')
    return folder


def test_the_page_needs_nothing_from_outside_and_runs_no_script(run, tmp_path):
    page = write_report(run, tmp_path / "data").read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert page.count("<html") == page.count("</html>") == 1


def test_it_says_that_a_run_is_complete_or_what_is_missing(run, tmp_path, frame):
    assert "Complete: all 2 cells are done" in write_report(run, tmp_path).read_text()
    frame.loc[frame.index[0], ["status", "accuracy_low", "accuracy_high"]] = ["failed", None, None]
    frame.to_parquet(run / "results.parquet")
    page = write_report(run, tmp_path).read_text()
    assert "Not complete: 1 of 2 cells are done (1 failed)" in page


def test_it_begins_with_what_is_true_of_its_own_photos_not_with_a_shipped_recipes_words(
    run, tmp_path, recipe
):
    lent = load_recipe("table2-cars").description
    own = recipe["data"] | {"dataset": "folder"}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"description": lent, "data": own}))
    page = write_report(run, tmp_path).read_text()
    assert "own photos, tiny, low-res 16 px on a 48 px canvas, 1 seed; 400 photos" in page
    assert "Stanford Cars, 8,144" not in page


def test_sections_stand_in_the_order_in_which_one_reads(run, tmp_path):
    (run / "run.json").write_text(json.dumps({"command": "f2c run demo", "versions": {"ray": "2"}}))
    titles = re.findall(r"<h2>(.*?)</h2>", write_report(run, tmp_path).read_text())
    assert [title.partition(":")[0] for title in titles] == [
        "Table 2",
        "Learning curves",
        "Cost and speed",
        "What differs from the paper",
        "How to do it again",
    ]


def test_s11_names_with_markup_do_not_run(run, tmp_path, recipe):
    hostile = "<img src=x onerror=alert(1)>"
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"description": hostile}))
    (run / "run.json").write_text(json.dumps({"command": hostile}))
    page = write_report(run, tmp_path).read_text()
    assert hostile not in page
    assert "&lt;img src=x" in page


def test_other_tables_of_the_run_are_taken_in(run, tmp_path):
    (run / "tables").mkdir()
    (run / "tables" / "claims.html").write_text("<html><body><p>gain 5.0</p></body></html>")
    page = write_report(run, tmp_path).read_text()
    assert "<h2>The paper&#x27;s claims on Table 2</h2>\n<p>gain 5.0</p>" in page


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataError, match="no results"):
        write_report(tmp_path, tmp_path)


def test_every_epoch_counts_once_whatever_was_written_twice_or_cut_off(run):
    epochs = epochs_of(run)
    assert {key: [record["epoch"] for record in of] for key, of in epochs.items()} == {
        "h": [1, 2],
        "l": [1],
    }
    assert kinds_of(PLAN, epochs) == {"high (tiny)": [(40, "h")], "low (tiny)": [(40, "l")]}


def test_costs_count_every_stage_of_a_chain_and_what_sharing_saves(frame):
    assert costs(frame, PLAN)["image_passes"].tolist() == [80, 160]
    assert dict(summary(frame, PLAN))["image passes of all stages"] == "240"
    assert dict(summary(frame, PLAN))["saved by sharing"] == "0%"


def test_photos_show_the_largest_cell_of_each_strategy(frame):
    assert shown_cells(frame) == {"staged_hl/h0-l8/s0": "low", "staged_hl/h8-l8/s0": "staged_hl"}
    smaller = frame.iloc[[1]].assign(cell="staged_hl/h4-l8/s0", high_level=4)
    assert "staged_hl/h4-l8/s0" not in shown_cells(pd.concat([smaller, frame]))


def test_predictions_of_photos_that_are_not_at_hand_are_left_out(run, tmp_path):
    rows = {"cell": ["staged_hl/h0-l8/s0"], "test": ["low"], "row": np.array([0])}
    pd.DataFrame(rows).to_parquet(run / "predictions.parquet")
    assert "Test photos</h2>" not in write_report(run, tmp_path / "nowhere").read_text()


def test_reports_kept_in_the_repository_show_no_photographs():
    """They belong to their photographers; who has the data makes the page with them."""
    kept = list((Path(__file__).parents[2] / "docs" / "results").glob("*/report.html"))
    assert kept
    assert [page.parent.name for page in kept if "data:image/jpeg" in page.read_text()] == []
