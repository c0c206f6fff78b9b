"""Pages of the largest cells: classes, calibration, forgetting, heat maps."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.classes import class_gains, class_notes, draw_gains
from analysis.figure3 import draw_figure3, write_figure3
from analysis.forgetting import curves_of, forgetting, high_accuracies
from analysis.heat_network import HeatSettings
from analysis.heat_page import MEASURES, compare_maps, verdicts, write_heat_page
from analysis.heat_runs import HeatRun, load_heat, write_heat
from analysis.outputs import write_outputs
from analysis.reliability import calibration_error, draw_reliability, reliability
from analysis.shown import shown_cells

CELLS = ("low/h0-l8/s0", "staged_hl/h8-l8/s0")


def heat_run(n_photos: int, larger: float) -> HeatRun:
    """Maps of two cells; every measure of the second is larger by a factor."""
    generator = np.random.default_rng(0)
    rows = []
    for row in range(n_photos):
        values = dict(zip(MEASURES, generator.uniform(0.1, 0.9, len(MEASURES)), strict=True))
        for cell, factor in zip(CELLS, (1, larger), strict=True):
            about = {"cell": cell, "row": row, "label": row % 2, "predicted": row % 2}
            rows.append(about | {name: factor * value for name, value in values.items()})
    images_NHWC = generator.integers(0, 256, (2, 14, 14, 3)).astype(np.uint8)
    first, second = generator.random((2, 2, 14, 14)).astype(np.float32)
    names = ("plain", "<b>&$x$")
    settings, measures = HeatSettings(n_photos), pd.DataFrame(rows)
    return HeatRun(CELLS, ("a", "b"), settings, measures, names, images_NHWC, (first, second))


def test_cells_are_shown_of_one_seed_that_has_most_strategies_and_photos(make_cell):
    cells = {
        ("staged_hl", (8, 8), 0): "missing",
        ("staged_hl", (8, 4), 0): "done",
        ("staged_hl", (8, 8), 1): "done",
        ("mixed", (8, 8), 0): "done",
        ("mixed", (8, 8), 1): "done",
        ("low", (0, 8), 2): "done",
    }
    made = [make_cell("table2", *cell, status=status) for cell, status in cells.items()]
    shown = {"mixed/h8-l8/s1": "mixed", "staged_hl/h8-l8/s1": "staged_hl"}
    assert shown_cells(pd.DataFrame(made)) == shown
    assert shown_cells(pd.DataFrame(made[:1])) == {}


def test_a_claim_holds_where_every_measure_is_shown_to_be_larger():
    assert set(verdicts(compare_maps(heat_run(200, 1.2))).values()) == {"held"}
    assert set(verdicts(compare_maps(heat_run(200, 0.8))).values()) == {"did not hold"}
    assert set(verdicts(compare_maps(heat_run(200, 1.0))).values()) == {"undecided"}


def test_few_photos_decide_nothing_and_the_page_says_so(tmp_path):
    heat = heat_run(20, 1.2)
    assert set(verdicts(compare_maps(heat)).values()) == {"undecided"}
    written = write_heat_page(heat, "a set", tmp_path)
    assert "20 photos are too few" in next(f for f in written if f.suffix == ".md").read_text()


def test_a_collapsed_network_has_a_dash_for_its_strength_and_everything_else_is_compared(tmp_path):
    heat = heat_run(200, 1.2)
    heat.measures.loc[heat.measures["cell"] == CELLS[0], "relative"] = np.nan
    assert list(verdicts(compare_maps(heat)).values()) == ["held", "undecided"]
    page = write_heat_page(heat, "a set", tmp_path)[1].read_text()
    row = next(line for line in page.splitlines() if line.startswith("| strength relative"))
    assert row.count("\N{EN DASH}") == 4
    assert "logits are all equal" in page
    assert "nan" not in page


def test_the_page_names_both_cells_over_their_numbers(tmp_path):
    heat = heat_run(20, 1.2)
    page = write_heat_page(heat, "a set", tmp_path)[1].read_text().replace("\\", "")
    first, second = (cell.removesuffix("/s0") for cell in CELLS)
    assert f"|  | {first} | {second} | {second} \N{MINUS SIGN} {first} [95 %] |" in page
    assert f"says of the maps of {second}" in page


def test_figure_3_says_which_cell_was_right(tmp_path):
    heat = heat_run(8, 1.2)
    cells = ("staged_hl/h0-l8/s0", "staged_hl/h8-l8/s0")
    measures = heat.measures.replace({"cell": dict(zip(CELLS, cells, strict=True))})
    figure = draw_figure3(replace(heat, cells=cells, measures=measures))
    label = figure.axes[0].get_ylabel()
    assert label == "plain\nstaged_hl/h0-l8: right\nstaged_hl/h8-l8: right"
    assert [axes.get_title() for axes in figure.axes[1:3]] == ["staged_hl/h0-l8", "staged_hl/h8-l8"]


def test_cells_that_differ_in_their_seed_keep_it(tmp_path):
    heat = replace(heat_run(8, 1.2), cells=("low/h0-l8/s0", "low/h0-l8/s1"))
    assert heat.names == heat.cells


def test_kept_heat_maps_come_back_and_are_used_for_the_same_stages_only(tmp_path):
    heat = heat_run(8, 1.2)
    write_heat(tmp_path, heat)
    back = load_heat(tmp_path)
    assert back is not None
    pd.testing.assert_frame_equal(back.measures, heat.measures)
    assert (back.cells, back.class_names) == (heat.cells, heat.class_names)
    assert all((ours == theirs).all() for ours, theirs in zip(heat.maps, back.maps, strict=True))
    assert back.covers(("a", "b"), HeatSettings(8))
    assert not back.covers(("a", "c"), HeatSettings(8))
    assert not back.covers(("a", "b"), HeatSettings(9))
    assert not back.covers(("a", "b"), HeatSettings(8, stride_px=1))


@pytest.mark.parametrize(("keys", "drawn"), [(("a", "b"), True), (("a", "other"), False)])
def test_heat_maps_are_drawn_of_the_stages_of_the_plan_only(grid, recipe, tmp_path, keys, drawn):
    cells = {cell: {"stage": key} for cell, key in zip(CELLS, keys, strict=True)}
    (tmp_path / "plan.json").write_text(json.dumps({"cells": cells, "stages": {}}))
    write_heat(tmp_path, heat_run(8, 1.2))
    names = {path.name for path in write_outputs(tmp_path, grid, recipe)}
    assert ({"heatmaps.md", "figure3.png"} <= names) is drawn


def test_damaged_heat_maps_are_none(tmp_path):
    for file in write_heat(tmp_path, heat_run(8, 1.2)):
        kept = file.read_bytes()
        file.write_bytes(kept[: len(kept) // 2])
        assert load_heat(tmp_path) is None
        file.write_bytes(kept)


def test_a_kill_between_their_two_files_does_not_mix_the_heat_maps_of_two_runs(tmp_path):
    heat = heat_run(8, 1.2)
    earlier = {file: file.read_bytes() for file in write_heat(tmp_path, heat)}
    write_heat(tmp_path, replace(heat, keys=("a", "c")))
    for file, content in earlier.items():
        now = file.read_bytes()
        file.write_bytes(content)
        assert load_heat(tmp_path) is None
        file.write_bytes(now)


@pytest.mark.parametrize("writer", ["pq.write_table", "np.savez_compressed"])
def test_a_kill_while_heat_maps_are_written_keeps_the_earlier_ones(tmp_path, monkeypatch, writer):
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    heat = heat_run(8, 1.2)
    write_heat(tmp_path, heat)
    monkeypatch.setattr(f"analysis.heat_runs.{writer}", killed)
    with pytest.raises(KeyboardInterrupt):
        write_heat(tmp_path, replace(heat, keys=("a", "c")))
    assert load_heat(tmp_path).keys == ("a", "b")


@pytest.mark.parametrize("through", ["soft", "binary"])
def test_figure_3_is_drawn_whatever_classes_are_called(tmp_path, through):
    (file,) = write_figure3(heat_run(8, 1.2), tmp_path, through=through)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_calibration_error_of_a_worked_example():
    confidence_N = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right_N = np.array([True, True, True, False, True, False])
    # |3 - 3.8| of one bin and |1 - 1.1| of another, over six photos.
    assert calibration_error(confidence_N, right_N) == pytest.approx(0.9 / 6)


def test_a_calibrated_network_is_within_what_chance_gives():
    generator = np.random.default_rng(1)
    confidence_N = generator.uniform(0.2, 1, 4000)
    found = reliability(confidence_N, generator.random(4000) < confidence_N)
    assert found.error < 2 * found.by_chance
    assert found.low < found.error < found.high


def test_the_interval_of_a_calibration_error_holds_the_truth_though_few_photos_raise_the_error():
    """A network that is five points too sure, on so few photos as here."""
    generator, covered, above = np.random.default_rng(2), 0, 0
    for run in range(40):
        confidence_N = generator.uniform(0.3, 1, 354)
        found = reliability(confidence_N, generator.random(354) < confidence_N - 0.05, run)
        covered += found.low <= 0.05 <= found.high
        above += found.error > 0.05
    assert above > 30
    assert covered >= 34


def test_gains_of_classes_by_hand():
    rows = {"row": [0, 1, 2, 3], "label": [0, 0, 1, 1]}
    first = pd.DataFrame(rows | {"predicted": [1, 1, 1, 1]})
    second = pd.DataFrame(rows | {"predicted": [0, 0, 1, 0]})
    gains = class_gains(first, second, ["a", "b"])
    assert gains[["class", "gain_points", "only_first", "only_second"]].to_numpy().tolist() == [
        ["a", 100.0, 0, 2],
        ["b", -50.0, 1, 0],
    ]
    assert gains["mcnemar_p"].tolist() == [0.5, 1.0]


def gains_of(*points: float, real: int = 0) -> pd.DataFrame:
    """Gains of classes c0, c1, ..., the first `real` of them beyond chance."""
    names = [f"c{n}" for n in range(len(points))]
    holm_p = [0.001] * real + [1.0] * (len(points) - real)
    return pd.DataFrame({"class": names, "gain_points": points, "holm_p": holm_p})


def test_the_classes_chart_names_both_cells_and_a_few_classes():
    (axes,) = draw_gains(gains_of(50.0, -20.0), ("low/h0-l8", "staged_hl/h8-l8")).axes
    assert axes.get_ylabel() == "staged_hl/h8-l8\n\N{MINUS SIGN} low/h0-l8, points"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["c0", "c1"]
    (many,) = draw_gains(gains_of(*[0.0] * 26), ("a", "b")).axes
    assert many.get_xticklabels() == []


def test_classes_that_all_stay_as_they_are_lie_on_a_line_through_an_axis_of_whole_points():
    (axes,) = draw_gains(gains_of(0.0, 0.0, 0.0), ("a", "b")).axes
    low, high = axes.get_ylim()
    assert low <= -5 < 5 <= high
    assert axes.lines[0].get_ydata().tolist() == [0, 0, 0]


def test_the_order_of_classes_is_called_luck_only_where_no_difference_is_real():
    assert "mostly luck" in " ".join(class_notes(gains_of(50.0, -20.0)))
    assert "luck" not in " ".join(class_notes(gains_of(100.0, -20.0, real=1)))


def test_reliability_diagrams_share_one_legend_outside_their_axes():
    photos = pd.DataFrame({"label": [1, 1], "predicted": [1, 2], "confidence": [0.9, 0.4]})
    figure = draw_reliability(
        {"low/h0-l8/s0": photos, "staged_hl/h8-l8/s0": photos}, "Cars, 227 px"
    )
    assert [axes.get_legend() for axes in figure.axes] == [None, None]
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert sorted(told) == ["calibrated", "network, with 95 % interval", "share of photos"]


def test_forgetting_starts_before_the_low_stage(make_cell):
    frame = pd.DataFrame(
        [make_cell("table2", "staged_hl", (8, low), high=0.5 - 0.1 * low) for low in (1, 2)]
    )
    plan = {"stages": {key: {"spec": {"parent": "high"}} for key in frame["stage_key"]}}
    events = [{"event": "stage_end", "key": "high", "accuracy_high": 0.6}]
    table = forgetting(frame, plan, high_accuracies(events))
    assert curves_of(table) == {400: {0: 60.0, 50: 40.0, 100: pytest.approx(30.0)}}
    assert table["forgotten_points"].tolist() == pytest.approx([0, 20, 30])


def test_forgetting_compares_the_same_seeds_before_and_after(make_cell):
    highs = {(0, 1): 0.5, (0, 2): 0.4, (1, 1): 0.9}
    frame = pd.DataFrame(
        [make_cell("table2", "staged_hl", (8, n), seed=s, high=h) for (s, n), h in highs.items()]
    )
    keys = frame["stage_key"].tolist()
    plan = {"stages": {key: {"spec": {"parent": f"high{i // 2}"}} for i, key in enumerate(keys)}}
    table = forgetting(frame, plan, {"high0": 0.6, "high1": 1.0})
    assert curves_of(table) == {400: {0: 60.0, 50: 50.0, 100: 40.0}}


def test_a_stage_that_was_not_tested_before_gives_no_curve(make_cell):
    frame = pd.DataFrame([make_cell("table2", "staged_hl", (8, 1))])
    plan = {"stages": {key: {"spec": {"parent": None}} for key in frame["stage_key"]}}
    assert forgetting(frame, plan, {}).empty
