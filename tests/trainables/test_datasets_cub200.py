from pathlib import Path

import numpy as np
import pytest

from trainables.datasets import DATASETS
from trainables.datasets.cub200 import COMPLETE, read_index
from trainables.errors import DataError
from trainables.spec import DataSpec

REAL = Path(__file__).parents[2].parent / "shared/data/CUB_200_2011"

FILES = {
    # Ids are shuffled and differ from file to file, as nothing promises their order.
    "images.txt": "3 b/z.jpg\n1 a/x.jpg\n7 a/y.jpg\n4 b/w.jpg\n",
    "image_class_labels.txt": "7 5\n1 5\n3 9\n4 9\n",
    "train_test_split.txt": "1 1\n3 0\n4 1\n7 0\n",
    "bounding_boxes.txt": "4 1.0 1.0 5.0 6.0\n3 2.5 3.0 4.0 5.0\n7 1 2 3 4\n1 11.0 21 30 40\n",
    "classes.txt": "9 002.Wren\n5 001.Robin Red\n",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def read(root):
    return read_index(DataSpec(dataset="cub200", root=str(root)))


def refusal(root):
    with pytest.raises(DataError) as caught:
        read(root)
    return str(caught.value)


def test_rows_are_joined_by_id(root):
    index = read(root)
    assert index.paths == ("images/a/x.jpg", "images/b/z.jpg", "images/b/w.jpg", "images/a/y.jpg")
    assert index.class_names == ("001.Robin Red", "002.Wren")
    assert index.labels.tolist() == [0, 1, 1, 0]
    assert index.labels.dtype == np.int64
    assert index.splits.tolist() == ["train", "test", "train", "test"]


def test_boxes_are_zero_based_and_half_open(root):
    boxes = read(root).boxes
    assert boxes.dtype == np.float64
    assert boxes[0].tolist() == [10.0, 20.0, 40.0, 60.0]
    assert boxes[1].tolist() == [1.5, 2.0, 5.5, 7.0]


def test_byte_order_mark_crlf_and_blank_lines_are_read(root):
    plain = read(root)
    for name, text in FILES.items():
        crlf = text.replace("\n", "\r\n").encode()
        (root / name).write_bytes(b"\xef\xbb\xbf" + crlf + b"\r\n\r\n")
    index = read(root)
    assert index.paths == plain.paths
    assert index.class_names == plain.class_names
    assert (index.boxes == plain.boxes).all()


def test_all_malformed_lines_are_told_at_once(root):
    (root / "images.txt").write_bytes(b"1 a/x.jpg\nthree b/z.jpg\n7\n4 \xff.jpg\n1 again.jpg\n")
    (root / "train_test_split.txt").write_text("1 1\n3 2\n4 1\n7 0\n")
    (root / "bounding_boxes.txt").write_text("1 1 1 nan 4\n3 1 1 4\n4 1 1 4 4 4\n7 1 1 4 x\n")
    text = refusal(root)
    for line in (2, 3, 4, 5):
        assert f"images.txt line {line}:" in text
        assert f"bounding_boxes.txt line {line - 1}:" in text
    assert "train_test_split.txt line 2:" in text
    assert "(9)" in text


def test_ids_that_a_file_lacks_are_named(root):
    (root / "bounding_boxes.txt").write_text("1 1 1 4 4\n3 1 1 4 4\n7 1 1 4 4\n8 1 1 4 4\n")
    text = refusal(root)
    assert "bounding_boxes.txt has no image id 4" in text
    for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt"):
        assert f"{name} has no image id 8" in text


def test_unknown_class_is_named(root):
    (root / "image_class_labels.txt").write_text("7 5\n1 5\n3 9\n4 0\n")
    assert "image id 4 has class 0, which classes.txt lacks" in refusal(root)


def test_impossible_boxes_are_named_by_id(root):
    (root / "bounding_boxes.txt").write_text("1 1 1 0 4\n3 1 1 -4 4\n4 1 1 4 4\n7 1 1 4 4\n")
    text = refusal(root)
    assert "image id 1: 'images/a/x.jpg': box without area" in text
    assert "image id 3: 'images/b/z.jpg': box with negative" in text


def test_path_out_of_the_root_is_refused(root):
    (root / "images.txt").write_text("3 ../../z.jpg\n1 a/x.jpg\n7 a/y.jpg\n4 b/w.jpg\n")
    assert "image id 3: 'images/../../z.jpg': path with '..'" in refusal(root)


def test_photo_under_two_ids_is_refused(root):
    (root / "images.txt").write_text("3 a/x.jpg\n1 a/x.jpg\n7 a/y.jpg\n4 b/w.jpg\n")
    assert "image id 1 (train), image id 3 (test): 'images/a/x.jpg'" in refusal(root)


def test_class_without_test_photo_is_named(root):
    (root / "train_test_split.txt").write_text("1 1\n3 1\n4 1\n7 0\n")
    assert "'002.Wren' has no test photo" in refusal(root)


def test_all_missing_files_are_named_with_what_to_do(root):
    (root / "classes.txt").unlink()
    (root / "images.txt").unlink()
    text = refusal(root)
    assert "classes.txt" in text
    assert "images.txt" in text
    assert "--data.root" in text
    assert "f2c prepare cub200 --from" in text


def test_200_classes_demand_the_published_counts(tmp_path):
    n_classes = COMPLETE[2]
    photos = range(2 * n_classes)
    contents = {
        "images.txt": [f"{i}.jpg" for i in photos],
        "image_class_labels.txt": [str(i // 2) for i in photos],
        "train_test_split.txt": [str(i % 2) for i in photos],
        "bounding_boxes.txt": ["1 1 9 9" for _ in photos],
        "classes.txt": [f"bird {k}" for k in range(n_classes)],
    }
    for name, values in contents.items():
        (tmp_path / name).write_text("".join(f"{i} {v}\n" for i, v in enumerate(values)))
    assert "200 train and 200 test photos, the complete set has 5994 and 5794" in refusal(tmp_path)


def test_published_facts_are_registered():
    assert DATASETS["cub200"].complete == (5994, 5794, 200)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos of shared/data are not here")
def test_real_part():
    index = read(REAL)
    assert index.rows("train").size == 600
    assert index.rows("test").size == 515
    assert len(index.class_names) == 20
    assert all((REAL / path).is_file() for path in index.paths)
