import hashlib
import subprocess
import sys

import numpy as np
import pytest

from trainables.datasets.synthetic import content_key, draw_photos, glyphs, read_index
from trainables.index import apply_choices
from trainables.spec import DataSpec, SyntheticSpec

PRINT_HASH = """
import hashlib
import numpy as np
from trainables.datasets.synthetic import draw_photos, read_index
from trainables.spec import DataSpec
photos = draw_photos(read_index(DataSpec()), DataSpec(), np.arange(20))
print(hashlib.sha256(np.stack(photos).tobytes()).hexdigest())
"""


def data_of(**changes) -> DataSpec:
    return DataSpec(synthetic=SyntheticSpec(**{"n_train": 64, "n_test": 32} | changes))


def drawn(data: DataSpec, rows=range(32)) -> np.ndarray:
    return np.stack(draw_photos(read_index(data), data, np.array(rows)))


def test_the_index_is_balanced_and_names_no_files():
    index = read_index(data_of())
    assert len(index) == 96
    assert index.paths[0] == "train/000000"
    assert index.paths[64] == "test/000000"
    assert index.class_names[3] == "class 03"
    assert np.isnan(index.boxes).all()
    for split, each in (("train", 4), ("test", 2)):
        labels = index.labels[index.rows(split)]
        assert np.bincount(labels, minlength=16).tolist() == [each] * 16
        assert labels.tolist() != sorted(labels)


def test_a_photo_does_not_depend_on_the_others_drawn_with_it():
    data = data_of()
    together = drawn(data, range(21))
    backwards = drawn(data, range(20, -1, -1))[::-1]
    alone = np.concatenate([drawn(data, [row]) for row in range(21)])
    assert np.array_equal(together, backwards)
    assert np.array_equal(together, alone)


def test_a_photo_does_not_depend_on_how_many_there_are_or_what_was_chosen():
    fewer, more = data_of(n_train=64), data_of(n_train=200, n_test=480)
    assert np.array_equal(drawn(fewer, [0, 5]), drawn(more, [0, 5]))
    chosen = fewer.model_copy(update={"classes": 4, "validation": 0.5})
    whole, part = read_index(fewer), apply_choices(read_index(fewer), chosen)
    row = part.rows("validation")[0]
    same = whole.paths.index(part.paths[row])
    assert np.array_equal(draw_photos(part, chosen, np.array([row]))[0], drawn(fewer, [same])[0])


def test_another_process_draws_the_same_photos():
    command = [sys.executable, "-W", "error", "-c", PRINT_HASH]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    data = DataSpec()
    photos = draw_photos(read_index(data), data, np.arange(20))
    assert printed.strip() == hashlib.sha256(np.stack(photos).tobytes()).hexdigest()


def test_seed_split_and_number_make_different_photos():
    index = read_index(data_of())
    test_rows = index.rows("test")[:8]
    photos = [*drawn(data_of(), range(8)), *drawn(data_of(), test_rows)]
    photos += [*drawn(data_of(seed=1), range(8))]
    assert len({photo.tobytes() for photo in photos}) == 24


@pytest.mark.parametrize("image_px", [16, 50, 301])
def test_any_size_can_be_drawn(image_px):
    photos = drawn(data_of(image_px=image_px), range(3))
    assert photos.shape == (3, image_px, image_px, 3)
    assert photos.dtype == np.uint8
    assert photos.std(axis=(1, 2, 3)).min() > 10


def test_the_largest_size_can_be_drawn():
    assert drawn(data_of(image_px=1024), [0]).shape == (1, 1024, 1024, 3)


def test_a_size_shows_the_same_scene_as_another():
    small, large = drawn(data_of(image_px=48)), drawn(data_of(image_px=96))
    halved = large.reshape(32, 48, 2, 48, 2, 3).mean(axis=(2, 4))
    differences = np.abs(halved - small).mean(axis=(1, 2, 3))
    assert differences.max() < 25  # grain and blotches differ, cars do not


def test_without_fine_detail_the_glyph_is_the_same_and_all_else_stays():
    with_detail, without = drawn(data_of()), drawn(data_of(fine_detail=False))
    changed = (with_detail != without).any(axis=3)
    labels = read_index(data_of()).labels[:32]
    assert not changed[labels == 0].any()
    assert changed[labels != 0].any(axis=(1, 2)).all()
    assert changed.mean() < 0.05


def test_coarse_cue_colours_the_car_by_class():
    def redness(coarse_cue: float) -> np.ndarray:
        data = data_of(coarse_cue=coarse_cue, n_train=256)
        photos = drawn(data, range(256))[:, 40:60, 30:66].mean(axis=(1, 2))
        hint = read_index(data).labels[:256] // 2 % 2
        red = photos[:, 0] - photos[:, 2]
        return red[hint == 0].mean() - red[hint == 1].mean()

    assert abs(redness(0.0)) < 15
    assert 40 < redness(0.6) < redness(1.0)


@pytest.mark.parametrize(("n_classes", "distance"), [(2, 8), (16, 8), (60, 6), (196, 4), (4096, 2)])
def test_glyphs_are_far_apart_and_equally_dark(n_classes, distance):
    patterns = glyphs(n_classes, 0)
    assert patterns.shape == (n_classes, 16)
    assert (patterns.sum(axis=1) == 8).all()
    some = patterns[:: max(1, n_classes // 64)]
    distances = [np.sort((patterns != pattern).sum(axis=1))[1] for pattern in some]
    assert min(distances) == distance


def test_glyphs_change_with_the_seed():
    assert not np.array_equal(glyphs(16, 0), glyphs(16, 1))


def test_the_key_names_the_photos_and_the_choices():
    data = data_of()
    keys = {
        content_key(data),
        content_key(data_of(seed=1)),
        content_key(data_of(coarse_cue=0.5)),
        content_key(data_of(n_test=33)),
        content_key(data.model_copy(update={"classes": 4})),
        content_key(data.model_copy(update={"validation": 0.1})),
    }
    assert len(keys) == 6
    assert content_key(data) == content_key(data.model_copy(update={"canvas_px": 48}))
