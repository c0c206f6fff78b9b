"""In what order the inputs of `fc6` lie, told from its weights."""

import numpy as np
import pytest

from trainables.errors import DataError
from trainables.models.npy_weights import channels_first, read_npy_layers

RNG = np.random.default_rng(0)


def read(tmp_path, layers, order="auto"):
    path = tmp_path / "weights.npy"
    np.save(path, np.array(layers, dtype=object), allow_pickle=True)
    return read_npy_layers(path, order)


def smooth_fc6(n_units: int, share: float) -> np.ndarray:
    """(units, 9216) in Caffe's order; `share` of the variance is common to a channel's map."""
    common = RNG.standard_normal((n_units, 256, 1, 1))
    own = RNG.standard_normal((n_units, 256, 6, 6))
    mixed = np.sqrt(share) * common + np.sqrt(1 - share) * own
    return (0.005 * mixed).astype(np.float32).reshape(n_units, -1)


def hwc(fc6: np.ndarray) -> np.ndarray:
    return fc6.reshape(-1, 256, 6, 6).transpose(0, 2, 3, 1).reshape(fc6.shape)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("order", ["chw", "hwc"])
def test_the_order_of_fc6_is_found_out(tmp_path, share, order):
    fc6 = smooth_fc6(64, share)
    stored = fc6 if order == "chw" else hwc(fc6)
    layers = {"fc6": [np.ascontiguousarray(stored.T), np.zeros(64, np.float32)]}
    assert np.array_equal(read(tmp_path, layers)["fc6"][0], fc6)
    assert np.array_equal(read(tmp_path, layers, order)["fc6"][0], fc6)


def test_an_fc6_without_a_clear_order_is_refused_until_it_is_named(tmp_path):
    fc6 = smooth_fc6(64, 0.0)
    layers = {"fc6": [fc6.T.copy(), np.zeros(64, np.float32)]}
    with pytest.raises(DataError, match=r"cannot be told.*--model\.fc6-order hwc"):
        read(tmp_path, layers)
    assert np.array_equal(read(tmp_path, layers, "chw")["fc6"][0], fc6)
    assert np.array_equal(hwc(read(tmp_path, layers, "hwc")["fc6"][0]), fc6)


@pytest.mark.parametrize("constant", [0.0, 0.01])
def test_constant_weights_have_no_order(constant):
    assert channels_first(np.full((8, 9216), constant, np.float32)) is None
