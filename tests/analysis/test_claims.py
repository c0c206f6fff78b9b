import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from scipy.stats import spearmanr

from analysis.claim_pages import write_claims
from analysis.claims import (
    centred,
    claims_of,
    dagger_minus_star,
    gain,
    gain_slope,
    mean_gain,
    spearman,
)
from analysis.grid import Grid, grid_of, paper_percent
from analysis.photos import Photos

ALL = np.ones(8, bool)
EASE = 1.5  # spread of how easy photos are, against 1 of chance in one network


def made(right_SRLN, n_draws=100, n_classes=40):
    percent = 100 * right_SRLN.mean(axis=-1)
    sizes = np.arange(-1, 9)
    return Grid(percent, right_SRLN, sizes, sizes[2:], n_classes, n_draws)


def simulated(rng, logits_RL, n_seeds=1, n_photos=354):
    """Photos as hard for every network, chance besides, and with seeds some in training."""
    ease = EASE * rng.normal(size=n_photos).astype("f4")
    noise = rng.standard_normal((n_seeds, 10, 8, n_photos), "f4")
    training = 0.05 * (n_seeds > 1) * rng.standard_normal((n_seeds, 10, 8, 1), "f4")
    return made(logits_RL[..., None].astype("f4") + ease + noise + training > 0)


def expected(logits_RL):
    return 100 * ndtr(logits_RL / np.sqrt(1 + EASE**2))


NULL = np.broadcast_to(np.linspace(-2, 0, 8), (10, 8))  # more low-res photos help, high-res not
EFFECT = NULL + np.r_[np.arange(9) * 0.1, 0.1][:, None] * np.linspace(1.5, 0.5, 8)


def claim(found, name, place=""):
    (one,) = (c for c in found if (c.name, c.place) == (name, place))
    return one


def test_the_papers_own_numbers_by_hand():
    theirs = paper_percent()
    assert gain(theirs)[-1].tolist() == pytest.approx(
        [17.1, 19.4, 17.4, 18.1, 14.7, 13.0, 10.7, 9.1]
    )
    assert dagger_minus_star(theirs) == pytest.approx(1.6)
    assert mean_gain(theirs) == pytest.approx((theirs[1:9] - theirs[0]).mean())
    slope = np.polyfit(np.arange(1, 9), gain(theirs)[-1], 1)[0]
    assert gain_slope(ALL)(theirs) == pytest.approx(slope)


def test_ranking_table2_without_any_measurement_agrees_with_the_paper_already():
    theirs = paper_percent()[:9]
    rows, columns = np.indices(theirs.shape)
    assert spearman(columns.ravel() * 1.0, theirs.ravel()) == pytest.approx(0.91, abs=0.005)
    tied = (columns + rows / 100).ravel()
    assert spearman(tied, theirs.ravel()) == pytest.approx(0.95, abs=0.005)
    growth = centred(theirs, np.ones((9, 8), bool)).ravel()
    assert spearman(rows.ravel() * 1.0, growth) == pytest.approx(0.97, abs=0.005)


def test_spearman_is_scipys_with_ties_and_over_draws():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (3, 30)).astype(float), rng.integers(0, 9, 30).astype(float)
    wanted = [spearmanr(row, second).statistic for row in first]
    assert spearman(first, second).tolist() == pytest.approx(wanted)
    assert spearman(np.ones(30), second) == 0


def test_a_claim_is_shown_when_its_whole_interval_has_the_papers_sign():
    found = claims_of(simulated(np.random.default_rng(0), EFFECT, n_photos=4000))
    slope = claim(found, "gain, slope over L", "H8")
    assert slope.ours.high < 0
    assert slope.made
    assert claim(found, "gain, mean of cells").made
    null = claims_of(simulated(np.random.default_rng(0), NULL, n_photos=4000))
    assert not claim(null, "gain, slope over L", "H8").made
    assert not claim(null, "gain, mean of cells").made


def test_the_nulls_are_printed_beside_the_rank_correlations():
    found = claims_of(simulated(np.random.default_rng(0), EFFECT))
    plain = claim(found, "rank correlation of accuracies with the paper's")
    assert plain.sign == 0
    assert [round(number, 2) for _, number in plain.nulls] == [0.91, 0.95]


def test_without_an_effect_claims_are_made_in_less_than_5_of_100_runs():
    rng, runs = np.random.default_rng(1), 200
    wrong = dict.fromkeys(("gain", "stars", "slope"), 0)
    for _ in range(runs):
        grid = simulated(rng, NULL)
        wrong["gain"] += grid.estimate(mean_gain).low > 0
        wrong["stars"] += grid.estimate(dagger_minus_star).low > 0
        wrong["slope"] += grid.estimate(gain_slope(ALL)).high < 0
    assert max(wrong.values()) < 0.05 * runs, wrong


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_intervals_cover_a_known_effect_in_about_95_of_100_runs(n_seeds):
    """With seeds in somewhat more: chance of one photo in one seed is counted with both factors."""
    rng, runs = np.random.default_rng(2), 150
    statistics = (mean_gain, dagger_minus_star, gain_slope(ALL))
    truth = [float(statistic(expected(EFFECT))) for statistic in statistics]
    covered = np.zeros(len(statistics))
    for _ in range(runs):
        grid = simulated(rng, EFFECT, n_seeds)
        found = [grid.estimate(statistic) for statistic in statistics]
        covered += [one.low <= true <= one.high for one, true in zip(found, truth, strict=True)]
    assert (covered / runs > 0.90).all(), covered / runs
    assert (covered / runs < 1.00).any(), covered / runs


def test_cells_at_chance_are_left_out_of_relative_numbers():
    logits = EFFECT.copy()
    logits[:, 0] = -9.0
    grid = simulated(np.random.default_rng(3), logits)
    assert not grid.above_chance[:, 0].any()
    assert grid.above_chance[:, 1:].all()
    found = claims_of(grid)
    places = {c.place for c in found if c.name == "gain relative to H0"}
    assert places == {f"H8 L{k}" for k in range(2, 9)}
    assert claim(found, "gain", "H8 L1").ours.value == 0


def photos_of(grid_frame):
    right = np.random.default_rng(0).random((len(grid_frame), 50)) < 0.5
    return Photos({cell: i for i, cell in enumerate(grid_frame["cell"])}, right)


def test_a_grid_has_every_cell_in_its_place(grid):
    photos = photos_of(grid)
    found = grid_of(grid, photos)
    cell = photos.right_CN[photos.cells["staged_hl/h3-l5/s0"]]
    assert (found.right_SRLN[0, 3, 4] == cell).all()
    assert found.mean_percent[3, 4] == 100 * cell.mean()
    assert np.argwhere(np.isnan(found.mean_percent)).tolist() == [[9, 0]]
    assert found.n_high_R.tolist() == [*range(0, 401, 50), -1]
    assert found.n_low_L.tolist() == [*range(50, 401, 50)]


def of_seed(grid_frame, seed):
    return grid_frame.assign(seed=seed, cell=grid_frame["cell"].str.replace("/s0", f"/s{seed}"))


def test_seeds_with_few_of_the_cells_are_left_out_by_name(grid, recipe, tmp_path):
    both = pd.concat([grid, of_seed(grid.iloc[:5], 3)])
    found = grid_of(both, photos_of(both))
    assert (found.n_seeds, found.left_out, found.n_lacking) == (1, (3,), 0)
    text = write_claims(both, found, recipe, tmp_path)[1].read_text()
    assert "Left out: seed 3, with too few of the cells." in text
    assert "canvas, 1 seed." in text


def test_a_cell_that_one_seed_lacks_is_left_out_of_all(grid, recipe, tmp_path):
    """Else means over cells would be of other cells in each seed."""
    lacking = ("staged_hl/h0-l1/s0", "staged_hl/h0-l8/s1")
    both = pd.concat([grid, of_seed(grid, 1)])
    some = both.loc[~both["cell"].isin(lacking)]
    found = grid_of(some, photos_of(both))
    assert (found.n_seeds, found.left_out, found.n_lacking) == (2, (), 2)
    assert np.isnan(found.percent_SRL[:, 0, [0, 7]]).all()
    whole = grid_of(both, photos_of(both)).percent_SRL
    points = (whole[:, 1:9, 1:7] - whole[:, :1, 1:7]).mean()
    assert found.estimate(mean_gain).value == pytest.approx(points)
    text = write_claims(some, found, recipe, tmp_path)[1].read_text()
    assert "Left out: 2 cells that not every seed has." in text


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_networks_that_agree_on_every_photo_have_no_interval_and_it_is_said(
    grid, recipe, tmp_path, n_seeds
):
    frame = pd.concat([of_seed(grid, seed) for seed in range(n_seeds)])
    alike = np.repeat([np.arange(36) < 12], len(frame), axis=0)
    found = grid_of(frame, Photos({cell: i for i, cell in enumerate(frame["cell"])}, alike))
    ours = found.estimate(dagger_minus_star)
    assert ours.value == 0
    assert np.isnan([ours.low, ours.high]).all()
    text = write_claims(frame, found, recipe, tmp_path)[1].read_text()
    assert "| Staged minus Mixed, mean of columns | +0.0 \\[none\\] | +1.6 | points | no |" in text
    assert "every draw of the photos gives the same" in text
    assert "nan" not in text


@pytest.mark.parametrize("statistic", [mean_gain, dagger_minus_star, gain_slope(ALL)])
def test_seeds_that_agree_leave_the_chance_of_the_photos(statistic):
    """They all were tested on the same photos: however many, others would give other numbers."""
    one = simulated(np.random.default_rng(4), EFFECT)
    same = made(np.repeat(one.right_SRLN, 3, axis=0))
    halves = [(e := grid.estimate(statistic)).high - e.value for grid in (one, same)]
    assert halves[1] == pytest.approx(halves[0], rel=0.02)


def test_the_page_says_how_the_intervals_were_made(grid, recipe, tmp_path):
    written = write_claims(grid, grid_of(grid, photos_of(grid)), recipe, tmp_path / "tables")
    assert [path.name for path in written] == ["claims.csv", "claims.md", "claims.html"]
    table = pd.read_csv(written[0])
    assert table["claim"].value_counts()["gain"] == 64
    assert table["ours"].notna().all()
    text = written[1].read_text()
    assert "one seed, so 1000 draws of the 50 test photos" in text
    assert "the chance in training is not in them" in text
    assert "each claim alone, without a correction for their number" in text
    assert "| gain, mean of cells |" in text
    again = write_claims(grid, grid_of(grid, photos_of(grid)), recipe, tmp_path / "tables")
    assert again[1].read_text() == text


def test_a_run_without_table2_has_no_claims(strategies, recipe, tmp_path):
    assert grid_of(strategies, photos_of(strategies)) is None
    assert write_claims(strategies, None, recipe, tmp_path / "tables") == []


def test_a_part_of_the_grid_gives_the_claims_that_it_allows(grid, recipe, tmp_path):
    some = grid[grid["low_level"].eq(8) & grid["high_level"].isin([0, 4, 8])]
    text = write_claims(some, grid_of(some, photos_of(some)), recipe, tmp_path)[1].read_text()
    assert "gain H8 L8" in text
    assert "slope over" not in text
