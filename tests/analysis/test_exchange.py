import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import scaling
from analysis.exchange import Exchange, answers, exchange_of, papers_exchange, write_exchange
from analysis.exchange_figure import draw_exchange, write_exchange_figure
from analysis.grid import Grid
from analysis.scaling import FORMS, Cells, Law, fit, held_out_points, redrawn
from analysis.setting import setting_of

SIZES = np.arange(9) * 1000
TRUTHS = {
    "power": np.array([math.log(0.31), math.log(0.7), 0.6, 0.25, 0.0, 0.0]),
    "gap": np.array([math.log(0.2), math.log(0.3), 0.8, 0.2, 0.6, 0.0]),
    "floor": np.array([math.log(0.12), math.log(0.6), 0.9, 0.4, 0.6, 0.15]),
}


def law(form):
    return Law(form, TRUTHS[form], 8000, 8000, 1000)


def cells(form):
    high, low = (side.ravel().astype(float) for side in np.meshgrid(SIZES, SIZES[1:]))
    return Cells(high, low, 1 - law(form).accuracy(high, low))


def made_grid(form, seed=0, n_photos=800):
    """A grid whose photos are recognised as the law says, equally hard ones in every cell."""
    percent = law(form).accuracy(SIZES[:, None], SIZES[None, 1:])
    percent = np.vstack([percent, percent[:1]])[None]
    rng = np.random.default_rng(seed)
    right = rng.random((*percent.shape, n_photos)) < percent[..., None]
    return Grid(100 * right.mean(axis=-1), right, np.r_[SIZES, -1], SIZES[1:], 196, 100)


@pytest.fixture(scope="module")
def found():
    return exchange_of(made_grid("power"))


@pytest.mark.parametrize("form", list(FORMS))
def test_a_fit_finds_the_law_that_made_the_cells(form):
    found, true = fit(form, cells(form)), law(form)
    high, low = np.meshgrid(SIZES, SIZES[1:])
    assert found.accuracy(high, low) == pytest.approx(true.accuracy(high, low), abs=2e-3)
    assert found.worth(4000, 4000) == pytest.approx(true.worth(4000, 4000), rel=0.03)


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("n_photos", [300, 8000])
def test_no_other_solver_finds_a_better_fit(form, n_photos):
    from scipy.optimize import least_squares

    made = cells(form)
    error = np.random.default_rng(1).binomial(n_photos, made.error.clip(0, 1)) / n_photos
    seen, free = made._replace(error=error), list(FORMS[form])
    found = fit(form, seen)

    def residuals(some):
        parameters = np.zeros(6)
        parameters[free] = some
        law = replace(found, parameters_P=parameters)
        return 1 - law.accuracy(seen.n_high, seen.n_low) - error

    bounds = (scaling._LOW[free], scaling._HIGH[free])
    inside = scaling._STARTS[:, free].clip(bounds[0] + 1e-6, bounds[1] - 1e-6)
    theirs = min(least_squares(residuals, start, bounds=bounds).cost for start in inside)
    ours = (residuals(found.parameters_P[free]) ** 2).sum() / 2
    assert ours <= theirs * 1.002


def test_the_power_laws_parameters_are_recovered():
    found = fit("power", cells("power")).parameters_P
    assert found == pytest.approx(TRUTHS["power"], abs=0.02)


def test_the_rate_is_the_trade_that_keeps_the_accuracy():
    one = law("gap")
    rate = one.worth(3000, 5000)
    before, after = one.accuracy(3000, 5000), one.accuracy(3001, 5000 - rate)
    assert after == pytest.approx(before, abs=1e-7)


def test_the_photos_that_a_target_needs_reach_it():
    one = law("floor")
    goal = float(one.accuracy(2000, 3000))
    assert one.low_needed(goal, 2000) == pytest.approx(3000)
    both = one.both_needed(goal)
    assert one.accuracy(both, both) == pytest.approx(goal, abs=1e-4)
    curve = one.curve(goal, np.array([0.0, 2000.0, 8000.0]))
    assert (np.diff(curve) < 0).all()
    assert one.curve(0.9, np.array([8000.0])).tolist() == [math.inf]


@pytest.mark.parametrize("ask", [
    lambda one: one.worth(12_001, 4000),
    lambda one: one.worth(4000, 12_001),
    lambda one: one.worth(4000, 600),
    lambda one: one.low_needed(0.95, 8000),
    lambda one: one.both_needed(0.95),
])  # fmt: skip
def test_beyond_one_and_a_half_times_the_measured_sizes_a_sentence_is_the_answer(ask):
    answer = ask(law("power"))
    assert isinstance(answer, str)
    assert "more than 1.5 times outside what was measured" in answer


def test_just_within_reach_there_is_a_number():
    assert isinstance(law("power").worth(12_000, 12_000), float)


def test_held_out_cells_tell_a_gap_from_none():
    made = cells("gap")
    points = {form: held_out_points(made, fit(form, made)) for form in ("power", "gap")}
    assert points["gap"] < 0.05 < points["power"]
    assert points == {form: held_out_points(made, fit(form, made)) for form in ("power", "gap")}


def test_of_laws_that_are_as_good_the_simplest_answers(found):
    assert found.chosen == "power"
    assert set(found.held_out) == set(FORMS)


def test_refits_spread_as_repeated_experiments_do():
    # In 100 experiments with 100 refits each, 92 intervals had the truth; the spreads agree to 2 %.
    made, rng = cells("power"), np.random.default_rng(0)
    seen = [made._replace(error=rng.binomial(2000, made.error) / 2000) for _ in range(80)]
    start = fit("power", seen[0])
    rates = [
        one.worth(4000, 4000) for one in redrawn(made, start, np.stack([s.error for s in seen]))
    ]
    drawn = rng.binomial(2000, seen[0].error, (80, 72)) / 2000
    refits = [one.worth(4000, 4000) for one in redrawn(seen[0], start, drawn)]
    assert np.std(refits) == pytest.approx(np.std(rates), rel=0.25)
    assert np.mean(rates) == pytest.approx(law("power").worth(4000, 4000), rel=0.02)


def test_a_small_grid_has_no_exchange_rate():
    whole = made_grid("power")
    percent = whole.percent_SRL.copy()
    percent[:, 3:] = np.nan
    some = Grid(percent, whole.right_SRLN, whole.n_high_R, whole.n_low_L, 196)
    assert exchange_of(some) is None


def test_what_cannot_be_told_is_a_sentence_and_not_a_number(found):
    table = answers(found, papers_exchange("power")).set_index("question")
    alone = table.loc["low-res photos for 50%, without high-res"]
    assert alone["ours"] == pytest.approx(law("power").low_needed(0.5, 0), rel=0.1)
    worse = Law("power", TRUTHS["power"] + [0.4, 0, 0, 0, 0, 0], 8000, 8000, 1000)
    far = Exchange(found.cells, {"power": worse}, found.held_out, "power", found.refits)
    told = answers(far, papers_exchange("power")).set_index("question")
    row = told.loc["low-res photos for 50%, without high-res"]
    assert math.isnan(row["ours"])
    assert "not extrapolated" in row["told"]


def test_beside_a_cell_that_the_law_misses_no_rate_is_told():
    whole = made_grid("power")
    percent, right = whole.percent_SRL.copy(), whole.right_SRLN
    percent[:, 1, -1] -= 15  # few high-res photos harm where low-res ones are many
    some = Grid(percent, right, whole.n_high_R, whole.n_low_L, 196, 100)
    table = answers(exchange_of(some), papers_exchange("power"))
    start = "low-res photos that one more high-res photo is worth, at "
    told = dict(zip(table["question"].str.removeprefix(start), table["told"], strict=True))
    assert (
        "the law misses a cell beside them by"
        in told["none of the high-res and all of the low-res photos"]
    )
    assert told["half of the high-res and half of the low-res photos"] == ""
    assert told["all of the high-res and all of the low-res photos"] == ""


def test_the_papers_table_gives_its_own_rate():
    theirs = papers_exchange("power").law
    assert theirs.worth(4072, 4072) == pytest.approx(0.47, abs=0.02)
    assert theirs.low_needed(0.5, 0) == pytest.approx(11_330, rel=0.01)


def test_the_page_tells_formula_choice_and_limits(found, grid, recipe, tmp_path):
    written = write_exchange(grid, found, recipe, tmp_path / "tables")
    assert [path.suffix for path in written] == [".csv", ".md", ".html"]
    assert pd.read_csv(written[0])["ours"].notna().sum() >= 4
    text = written[1].read_text()
    assert "| power (used) |" in text
    assert "1.5 times outside the measured sizes" in text
    assert "arXiv 2108.11018" in text


def test_the_figure_has_every_cell_and_curves_and_is_the_same_twice(found, grid, recipe, tmp_path):
    setting = setting_of(grid, recipe)
    figure = draw_exchange(found, setting)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sum(not text.endswith("%") for text in texts) == 72
    assert sum(text.endswith("%") for text in texts) >= 3
    written = write_exchange_figure(found, setting, tmp_path / "a")
    again = write_exchange_figure(found, setting, tmp_path / "b")
    assert [path.name for path in written] == ["exchange.png", "exchange.svg"]
    assert [p.read_bytes() for p in written] == [p.read_bytes() for p in again]
