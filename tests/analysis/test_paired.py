import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.paired import compare_pairs, pairs_of, write_paired
from analysis.photos import Photos, load_photos
from analysis.statistics import mcnemar, paired_difference
from trainables.errors import DataError


def of_counts(both, only_first, only_second, neither):
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    return first[None], second[None]


def test_the_interval_of_one_seed_is_bonett_and_prices_as_published():
    # Fagerland, Lydersen and Laake (2014), Table V: airway hyper-responsiveness of 21 children.
    found = paired_difference(*of_counts(1, 1, 7, 12))
    assert (found.only_first, found.only_second) == (1, 7)
    assert found.difference == pytest.approx(-0.286, abs=5e-4)
    assert (found.low, found.high) == pytest.approx((-0.508, -0.013), abs=5e-4)
    assert found.p == found.mcnemar_p == pytest.approx(0.0703, abs=5e-5)


def test_many_photos_give_walds_interval():
    # Agresti, Categorical Data Analysis (2002), Section 10.1.1: approval by 1600 voters.
    found = paired_difference(*of_counts(794, 150, 86, 570))
    assert (found.difference, found.low, found.high) == pytest.approx(
        (0.040, 0.021, 0.059), abs=6e-4
    )


def test_equal_networks_differ_by_nothing_with_an_interval_around_it():
    found = paired_difference(*of_counts(10, 0, 0, 10))
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(0)
    first = rng.random((2, 1000)) < np.array([[0.5], [0.7]])
    second = rng.random((2, 1000)) < 0.5
    found = paired_difference(first, second)
    assert found.mcnemar_p < 1e-4
    assert found.p > 0.05
    assert found.low < 0 < found.high


def test_the_interval_and_p_of_several_seeds_by_hand():
    """Three seeds, four photos; two photos more, one for each network, in the photos' variance."""
    first = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], np.bool_)
    second = np.array([[0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]], np.bool_)
    photos = [3 / 3, 1 / 3, 2 / 3, 0 / 3, 1, -1]
    centre = sum(photos) / 6
    of_photos = sum((x - centre) ** 2 for x in photos) / 6 / 6
    seeds = [2 / 4, 1 / 4, 3 / 4]
    of_seeds = sum((x - 0.5) ** 2 for x in seeds) / 2 / 3
    variance = of_photos + of_seeds
    freedom = variance**2 / (of_photos**2 / 3 + of_seeds**2 / 2)
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    found = paired_difference(first, second)
    assert (found.only_first, found.only_second, found.difference) == (7, 1, 0.5)
    assert (found.low, found.high) == pytest.approx((max(-1, centre - half), min(1, centre + half)))
    assert found.mcnemar_p == mcnemar(7, 1)
    assert found.p == pytest.approx(2 * stats.t.sf(0.5 / variance**0.5, freedom))


def simulated(rng, n_seeds, effect=0.0, n_photos=354, n_pairs=7):
    """Photos that are hard for both networks of a pair in every seed, and chance besides."""
    ease = rng.normal(0, 1.5, (n_pairs, 1, 1, n_photos))
    liking = rng.normal(0, 0.7, (n_pairs, 2, 1, n_photos))
    noise = rng.normal(0, 1, (n_pairs, 2, n_seeds, n_photos))
    logits = ease + liking + noise + effect * np.array([0.5, -0.5])[None, :, None, None]
    return logits > 0


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_without_an_effect_a_family_shows_a_difference_in_less_than_5_of_100_runs(n_seeds):
    # 300 runs of families of seven: the true rate is 2.6 % for one seed, 1.4 % for three.
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(300):
        right = simulated(rng, n_seeds)
        p = [paired_difference(first, second).p for first, second in right]
        wrong += min(p) * len(p) < 0.05
    assert wrong < 0.05 * 300


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_the_interval_covers_a_known_effect_in_about_95_of_100_runs(n_seeds):
    rng = np.random.default_rng(6)
    truth = simulated(rng, 1, effect=0.6, n_photos=400_000, n_pairs=1).mean(axis=-1)
    expected = float(truth[0, 0, 0] - truth[0, 1, 0])
    found = [
        paired_difference(*pair) for _ in range(30) for pair in simulated(rng, n_seeds, effect=0.6)
    ]
    covered = np.mean([one.low <= expected <= one.high for one in found])
    assert 0.91 <= covered <= 0.995


@pytest.fixture
def run(grid, tmp_path):
    """A run of Table 2's grid: staged is far better at column 2, equal elsewhere."""
    grid.to_parquet(tmp_path / "results.parquet")
    rng, n = np.random.default_rng(0), 200
    hard = rng.random(n)
    frames = []
    for cell in grid.to_dict("records"):
        better = 0.4 * (cell["cell"] == "staged_hl/h2-l2/s0")
        right = hard < 0.4 + better
        predicted = np.where(right, 1, 2)
        made = {"cell": cell["cell"], "test": "low", "row": np.arange(n), "label": 1}
        frames.append(pd.DataFrame(made | {"predicted": predicted}))
        frames.append(frames[-1].assign(test="high", predicted=1))
    frame = pd.concat(frames).astype({"cell": "category", "test": "category"})
    frame.to_parquet(tmp_path / "predictions.parquet", index=False)
    return tmp_path


def test_the_photos_of_a_test_are_read_back(run, grid):
    photos = load_photos(run)
    assert photos.right_CN.shape == (79, 200)
    assert photos.of("mixed/h2-l2", [0]).mean() == pytest.approx(0.4, abs=0.1)
    assert load_photos(run, "high").right_CN.all()
    assert load_photos(run, "sr").cells == {}


def test_missing_and_foreign_predictions_are_refused(run, tmp_path):
    with pytest.raises(DataError, match="no predictions at"):
        load_photos(tmp_path / "none")
    frame = pd.read_parquet(run / "predictions.parquet")
    frame.iloc[1:].to_parquet(run / "predictions.parquet", index=False)
    with pytest.raises(DataError, match="tested on the same photos"):
        load_photos(run)
    (run / "predictions.parquet").write_text("x")
    with pytest.raises(DataError, match="cannot be read"):
        load_photos(run)


def test_table2_compares_dagger_and_star_of_seven_columns(grid):
    pairs = pairs_of(grid)
    assert [pair.first for pair in pairs] == [f"staged_hl/h{k}-l{k}" for k in range(2, 9)]
    assert [pair.second for pair in pairs] == [f"mixed/h{k}-l{k}" for k in range(2, 9)]
    assert [pair.paper_points for pair in pairs] == [0.9, 2.1, 3.1, 2.1, 1.8, 1.0, 0.2]


def test_other_tables_compare_staged_with_every_strategy(strategies):
    pairs = {pair.second: pair for pair in pairs_of(strategies)}
    assert {pair.first for pair in pairs.values()} == {"staged_hl/h8-l8"}
    assert set(pairs) == {
        *("high/h8-l0", "low/h0-l8", "mixed/h8-l8", "staged_lh/h8-l8", "my_own/h8-l8"),
    }
    assert pairs["mixed/h8-l8"].paper_points == 0.2
    assert np.isnan(pairs["my_own/h8-l8"].paper_points)


def test_a_part_of_the_photos_is_compared_with_what_saw_the_same_and_not_with_the_papers(make_cell):
    """Staged on all high-res photos and an eighth of the low-res ones, as where they are scarce."""
    sizes = {
        "staged_hl": (8, 1), "mixed": (8, 1), "low": (0, 1), "low_long": (0, 1), "high": (8, 0),
        "mine": (1, 1),
    }  # fmt: skip
    for table in ("custom", "table1"):
        frame = pd.DataFrame([make_cell(table, name, levels) for name, levels in sizes.items()])
        pairs = pairs_of(frame)
        assert {pair.first for pair in pairs} == {"staged_hl/h8-l1"}
        assert sorted(pair.second for pair in pairs) == [
            "high/h8-l0", "low/h0-l1", "low_long/h0-l1", "mixed/h8-l1",
        ]  # fmt: skip
        assert np.isnan([pair.paper_points for pair in pairs]).all()


def test_of_staged_cells_of_several_sizes_the_largest_is_compared(make_cell):
    sizes = [("staged_hl", (8, 1)), ("staged_hl", (8, 8)), ("low", (0, 1)), ("low", (0, 8))]
    pairs = pairs_of(pd.DataFrame([make_cell("custom", *each) for each in sizes]))
    assert [(pair.first, pair.second) for pair in pairs] == [("staged_hl/h8-l8", "low/h0-l8")]


def test_only_what_holm_leaves_is_called_real(run, grid, recipe):
    compared = compare_pairs(grid, load_photos(run))
    assert compared["finding"].tolist() == ["first", *["open"] * 6]
    row = compared.iloc[0]
    assert row["holm_p"] == pytest.approx(7 * mcnemar(row["only_first"], row["only_second"]))
    written = write_paired(grid, load_photos(run), recipe, run / "tables")
    assert [path.name for path in written] == ["paired.csv", "paired.md", "paired.html"]
    text = written[1].read_text()
    assert "1 of 7 differences are real" in text
    assert "| staged\\_hl/h2-l2 |" in text
    assert text.count("not shown") == 6


def test_a_run_without_pairs_writes_nothing(grid, recipe, tmp_path):
    nothing = Photos({}, np.zeros((0, 0), bool))
    assert write_paired(grid, nothing, recipe, tmp_path / "tables") == []
    assert not (tmp_path / "tables").exists()


def test_three_seeds_are_pooled_and_said_to_be(strategies, recipe, tmp_path):
    names = strategies["cell"].tolist()
    right = np.random.default_rng(1).random((len(names), 100)) < 0.5
    photos = Photos({name: i for i, name in enumerate(names)}, right)
    compared = compare_pairs(strategies, photos)
    assert compared["n_seeds"].tolist() == [3] * 5
    assert (compared["p"] >= compared["mcnemar_p"]).all()
    text = write_paired(strategies, photos, recipe, tmp_path)[1].read_text()
    assert "3 seeds; the counts are photos that only one recognises, summed over seeds" in text
