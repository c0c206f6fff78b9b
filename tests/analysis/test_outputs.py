import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.outputs import PAGES, write_outputs
from analysis.report import FIGURES, LATER_TABLES, OTHER_TABLES
from trainables.errors import DataError


def predictions(frame, n_photos=60):
    """Photos that a network recognises as often as the frame says."""
    rng = np.random.default_rng(0)
    parts = []
    for cell in frame.to_dict("records"):
        right = rng.random(n_photos) < cell["accuracy_low"]
        made = {"cell": cell["cell"], "test": "low", "row": np.arange(n_photos), "label": 1}
        made |= {"predicted": np.where(right, 1, 2), "confidence": 0.8}
        parts.append(pd.DataFrame(made))
    return pd.concat(parts).astype({"cell": "category", "test": "category"})


def test_a_run_of_table2_gets_every_table_and_figure(grid, recipe, tmp_path):
    predictions(grid).to_parquet(tmp_path / "predictions.parquet", index=False)
    written = write_outputs(tmp_path, grid, recipe)
    assert all(path.stat().st_size for path in written)
    names = {str(path.relative_to(tmp_path).with_suffix("")) for path in written}
    tables = {f"tables/{name}" for name in ("table2", "paired", "claims", "exchange")}
    both = {f"{folder}/{n}" for folder in ("tables", "figures") for n in ("classes", "reliability")}
    assert names == tables | both | {"figures/table2", "figures/exchange"}


def test_every_figure_without_photos_is_a_vector_too(grid, recipe, tmp_path):
    predictions(grid).to_parquet(tmp_path / "predictions.parquet", index=False)
    figures = [path for path in write_outputs(tmp_path, grid, recipe) if "figures" in path.parts]
    names = [{path.stem for path in figures if path.suffix == end} for end in (".png", ".svg")]
    assert names[0] == names[1] >= {"classes", "reliability"}
    pixels = {name for name in PAGES if name.endswith(".png")}
    vectors = {name.replace(".svg", ".png") for name in PAGES if name.endswith(".svg")}
    assert pixels - vectors == {"figures/figure3.png"}


def test_pages_of_one_seed_say_so(strategies, recipe, tmp_path):
    predictions(strategies).to_parquet(tmp_path / "predictions.parquet", index=False)
    write_outputs(tmp_path, strategies, recipe)
    for name, seeds in {"classes": "1 seed", "reliability": "1 seed", "table1": "3 seeds"}.items():
        assert f"canvas, {seeds}." in (tmp_path / "tables" / f"{name}.md").read_text()


def test_a_run_of_strategies_gets_its_table_its_pairs_and_its_figure(strategies, recipe, tmp_path):
    predictions(strategies).to_parquet(tmp_path / "predictions.parquet", index=False)
    names = {path.stem for path in write_outputs(tmp_path, strategies, recipe)}
    assert names == {"table1", "paired", "classes", "reliability"}


def test_pages_of_one_resolution_leave_out_a_sweeps_others(grid, recipe, tmp_path):
    """At each resolution the sweep has the whole of Table 2; the title speaks of 16 px."""
    coarse = grid["cell"].str.replace("/s0", "-8px/s0")
    sweep = pd.concat([grid, grid.assign(cell=coarse, resolution_px=8, accuracy_low=0.01)])
    for name, frame in {"sweep": sweep, "alone": grid}.items():
        (tmp_path / name).mkdir()
        predictions(frame).to_parquet(tmp_path / name / "predictions.parquet", index=False)
        write_outputs(tmp_path / name, frame, recipe)
    for page in ("claims.csv", "exchange.csv", "classes.csv", "reliability.csv"):
        texts = [(tmp_path / name / "tables" / page).read_text() for name in ("sweep", "alone")]
        assert texts[0] == texts[1], page


def test_a_run_from_before_predictions_were_kept_has_its_tables(grid, recipe, tmp_path):
    names = {path.name for path in write_outputs(tmp_path, grid, recipe)}
    assert {"table2.csv", "table2.md", "table2.png"} <= names
    assert not names & {"paired.csv", "claims.csv", "exchange.csv"}


def test_a_run_stopped_before_any_cell_to_compare_has_its_tables(strategies, recipe, tmp_path):
    predictions(strategies).to_parquet(tmp_path / "predictions.parquet", index=False)
    stopped = strategies.assign(status="missing")
    varied = recipe | {"variants": {"order_alone": {"strategy": "low", "vary": "order"}}}
    names = {path.name for path in write_outputs(tmp_path, stopped, varied)}
    assert "table1.csv" in names
    assert not names & {"classes.csv", "reliability.csv", "spread.csv"}


def test_a_torn_plan_is_refused_in_one_sentence(strategies, recipe, tmp_path):
    (tmp_path / "plan.json").write_text('{"cells": {"low/')
    with pytest.raises(DataError, match=r"plan\.json cannot be read"):
        write_outputs(tmp_path, strategies, recipe)


def test_results_of_an_earlier_plan_have_their_pages(strategies, recipe, tmp_path):
    """A run that was killed has written its plan, not yet its results."""
    (tmp_path / "plan.json").write_text(json.dumps({"cells": {}, "stages": {}}))
    assert "table1.csv" in {path.name for path in write_outputs(tmp_path, strategies, recipe)}


def plan(frame):
    """Stages without parents, as the results of a frame have them."""
    keys = dict(zip(frame["cell"], frame["stage_key"], strict=True))
    cells = {cell: {"stage": key} for cell, key in keys.items()}
    stage = {"images": 1, "spec": {"parent": None}}
    return {"cells": cells, "stages": dict.fromkeys(keys.values(), stage)}


def test_pages_of_an_earlier_recipe_go_and_a_users_own_files_stay(grid, recipe, tmp_path):
    predictions(grid).to_parquet(tmp_path / "predictions.parquet", index=False)
    (tmp_path / "plan.json").write_text(json.dumps(plan(grid)))
    earlier = {*write_outputs(tmp_path, grid, recipe)}
    mine = [tmp_path / name for name in ("tables/claims.tex", "tables/notes.md", "figures/a.png")]
    for file in mine:
        file.write_text("mine")
    low = grid.loc[grid["high_level"] == 0].assign(table="custom", strategy="low")
    now = {*write_outputs(tmp_path, low, recipe)}
    assert tmp_path / "tables" / "claims.html" in earlier - now
    assert {*tmp_path.glob("tables/*"), *tmp_path.glob("figures/*")} == {*now, *mine}


def test_a_kept_part_of_a_run_loses_no_page_that_could_not_be_written_again(grid, recipe, tmp_path):
    (tmp_path / "tables").mkdir()
    page = tmp_path / "tables" / "forgetting.html"
    page.write_text("of a plan that was not kept")
    write_outputs(tmp_path, grid, recipe)
    assert page.is_file()


def test_every_figure_that_a_run_may_have_is_in_its_report():
    drawn = {Path(page).stem for page in PAGES if page.startswith("figures/")}
    shown = {name for name, _ in FIGURES.values()}
    assert drawn - shown == {"table1", "table2", "table3", "custom"}, "those beside their tables"


def test_whatever_the_report_takes_in_goes_when_it_is_of_an_earlier_recipe():
    named = {f"tables/{name}.html" for name in (*OTHER_TABLES, *LATER_TABLES)}
    assert named <= PAGES
