"""What the trees, the regressors and the files of a forest promise."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Generator, Tensor
from torch.nn.functional import normalize

from trainables.errors import DataError
from trainables.superres.forest import Forest
from trainables.superres.forest_files import RECORD, TABLES, load_forest, save_forest
from trainables.superres.forest_spec import Score, forest_key, forest_spec
from trainables.superres.patches import coverage, cut, lay, principal_axes
from trainables.superres.regressors import leaf_maps, ridge_map
from trainables.superres.trees import descend, grouped_products, grow


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def directions(n: int, n_axes: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(n, n_axes, generator=Generator().manual_seed(seed)))


def assert_near(ours: object, theirs: object) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def by_hand(patch_K: Tensor, tree_M2K: Tensor, depth: int, score: Score) -> tuple[int, float]:
    """One patch, node by node."""
    node, total = 0, 0.0
    for _ in range(depth):
        left, right = (abs(float(direction @ patch_K)) for direction in tree_M2K[node])
        taken, other = max(left, right), min(left, right)
        added = {"leaf": taken - total, "path": taken, "log_odds": taken - other}
        total += added[score]
        node = 2 * node + 1 + (right > left)
    return node - (2**depth - 1), total


@pytest.mark.parametrize("score", ["leaf", "path", "log_odds"])
@pytest.mark.parametrize("depth", [1, 4, 8])
def test_every_patch_goes_where_its_nearer_line_leads(score: Score, depth: int):
    patches = directions(60, 8, seed=1)
    tree = directions(2 * (2**depth - 1), 8).view(-1, 2, 8)
    leaves, scores = descend(patches, tree, score)
    expected = [by_hand(patch, tree, depth, score) for patch in patches]
    assert leaves.tolist() == [leaf for leaf, _ in expected]
    assert_near(scores, torch.tensor([total for _, total in expected]))


def test_a_patch_and_its_negative_reach_the_same_leaf():
    patches = directions(5000, 12)
    tree = grow(patches, 8, 5, Generator().manual_seed(0))
    leaves, scores = descend(patches, tree, "leaf")
    mirrored, same_scores = descend(-patches, tree, "leaf")
    assert torch.equal(leaves, mirrored)
    assert torch.equal(scores, same_scores)
    assert leaves.unique().numel() > 200


def test_two_bundles_of_lines_are_told_apart_whatever_the_signs():
    rng = Generator().manual_seed(0)
    axis = torch.eye(8)[torch.arange(400) % 2]
    signs = torch.randint(0, 2, (400, 1), generator=rng) * 2 - 1
    patches = normalize(signs * axis + 0.05 * torch.randn(400, 8, generator=rng))
    leaves, _ = descend(patches, grow(patches, 1, 10, rng), "leaf")
    assert leaves[::2].unique().numel() == leaves[1::2].unique().numel() == 1
    assert leaves[0] != leaves[1]


def test_a_tree_deeper_than_its_patches_still_leads_everywhere():
    patches = directions(3, 4)
    tree = grow(torch.cat([patches, patches]), 6, 3, Generator().manual_seed(0))
    assert_near(tree.norm(dim=2), torch.ones(63, 2))
    assert descend(patches, tree, "leaf")[0].max() < 64


def test_ridge_is_that_of_numpy():
    patches, details = directions(200, 8), directions(200, 36, seed=1)
    X, D = patches.double().numpy(), details.double().numpy()
    expected = np.linalg.solve(X.T @ X + 0.1 * np.eye(8), X.T @ D)
    assert_near(ridge_map(patches, details, 0.1).numpy(), expected)


def test_a_leaf_learns_from_the_patches_that_fit_it_best_and_a_poor_one_from_all():
    patches, details = directions(300, 8), directions(300, 9, seed=1)
    leaves = torch.where(torch.arange(300) < 290, 0, 1)
    lines = directions(2, 8, seed=2)
    maps = leaf_maps(patches, details, leaves, lines, pool_levels=0, cap=100, ridge=0.1)
    best = (patches[:290] @ lines[0]).abs().topk(100).indices
    assert_near(maps[0], ridge_map(patches[best], details[best], 0.1))
    assert_near(maps[1], ridge_map(patches, details, 0.1))


def test_a_leaf_may_learn_from_its_neighbours():
    patches, details = directions(300, 8), directions(300, 9, seed=1)
    leaves, lines = torch.arange(300) % 4, directions(4, 8, seed=2)
    maps = leaf_maps(patches, details, leaves, lines, pool_levels=1, cap=100, ridge=0.1)
    pool = leaves < 2
    best = (patches[pool] @ lines[1]).abs().topk(100).indices
    assert_near(maps[1], ridge_map(patches[pool][best], details[pool][best], 0.1))


def test_rows_meet_the_table_of_their_group():
    rows, groups = directions(50, 8), torch.arange(50) * 7 % 5
    tables = directions(5 * 8, 12).view(5, 8, 12)
    expected = torch.stack([row @ tables[group] for row, group in zip(rows, groups, strict=True)])
    assert_near(grouped_products(rows, groups, tables), expected)


def test_patches_laid_back_and_averaged_are_the_image():
    planes = torch.rand(2, 14, 18, generator=Generator().manual_seed(0))
    laid = lay(cut(planes, 6, 4), (2, 14, 18), 6, 4)
    assert_near(laid / coverage((14, 18), planes, 6, 4), planes)


def test_axes_are_orthonormal_and_blind_to_brightness():
    patches = torch.randn(500, 36, generator=Generator().manual_seed(0)).cumsum(1)
    axes = principal_axes(patches, 0.99)
    assert_near(axes.T @ axes, torch.eye(axes.shape[1]))
    assert axes.sum(0).abs().max() < 1e-5
    assert axes.shape[1] % 4 == 0


@pytest.fixture
def forest() -> Forest:
    spec = forest_spec(2, n_trees=2, depth=3)
    tree, maps = directions(2 * 7 * 2, 8), directions(2 * 8 * 36, 8)
    return Forest(spec, "0" * 64, directions(36, 8), tree.view(2, 7, 2, 8), maps.view(2, 8, 8, 36))


def test_a_forest_comes_back_from_its_files_bit_for_bit(forest: Forest, tmp_path: Path):
    save_forest(forest, tmp_path / "new")
    read = load_forest(tmp_path / "new")
    assert (read.spec, read.images_key) == (forest.spec, forest.images_key)
    for ours, theirs in (
        (forest.axes_PK, read.axes_PK),
        (forest.directions_TM2K, read.directions_TM2K),
        (forest.maps_TLKP, read.maps_TLKP),
    ):
        assert torch.equal(ours, theirs)


def test_damaged_forest_files_are_refused(forest: Forest, tmp_path: Path):
    with pytest.raises(DataError, match="there is no forest in"):
        load_forest(tmp_path)
    save_forest(forest, tmp_path)
    tables = bytearray((tmp_path / TABLES).read_bytes())
    tables[-3] ^= 1
    (tmp_path / TABLES).write_bytes(tables)
    with pytest.raises(DataError, match="is damaged: its sum is not the recorded one"):
        load_forest(tmp_path)
    (tmp_path / TABLES).unlink()
    with pytest.raises(DataError, match="is damaged"):
        load_forest(tmp_path)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        load_forest(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "other"),
        ("version", 99),
        ("spec", {"factor": 2.0}),
        ("images_key", None),
        ("key", "0"),
    ],
)
def test_foreign_forest_files_are_refused(
    forest: Forest, tmp_path: Path, field: str, value: object
):
    save_forest(forest, tmp_path)
    record = json.loads((tmp_path / RECORD).read_text()) | {field: value}
    if value is None:
        del record[field]
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(DataError, match="is not of a forest of this version"):
        load_forest(tmp_path)


def test_tables_that_do_not_fit_the_spec_are_refused(forest: Forest, tmp_path: Path):
    save_forest(forest, tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    record["spec"]["depth"] = 4
    record["key"] = forest_key(forest_spec(2, n_trees=2, depth=4), record["images_key"])
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(DataError, match="is not of a forest of this version"):
        load_forest(tmp_path)


def test_the_recipe_for_a_factor_fits_its_patches():
    assert [forest_spec(f).patch_px for f in (2, 3, 4, 4.54)] == [6, 9, 12, 14]
    assert [forest_spec(f).step_px for f in (2, 3, 4, 4.54)] == [2, 3, 4, 4]


def test_specs_without_sense_are_refused():
    for changes in ({"step_px": 7}, {"n_best": 0}, {"depth": 0}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            forest_spec(2, **changes)
    with pytest.raises(ValidationError):
        forest_spec(1)


def test_whatever_changes_a_forest_changes_its_key():
    keys = {
        forest_key(forest_spec(2), "a"),
        forest_key(forest_spec(2), "b"),
        forest_key(forest_spec(2, seed=1), "a"),
        forest_key(forest_spec(2, n_trees=9), "a"),
    }
    assert len(keys) == 4
