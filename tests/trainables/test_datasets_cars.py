from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from trainables.datasets import DATASETS, stanford_cars
from trainables.datasets.stanford_cars import read_index
from trainables.errors import DataError
from trainables.spec import DataSpec

REAL = Path(__file__).parents[2].parent / "shared/data/stanford_cars"

NUMBERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")
DEVKIT = (*NUMBERS, "fname")
COMBINED = ("relative_im_path", *NUMBERS, "test")
NAMES = ("Audi S4", "BMW M3")

TRAIN = [(1, 1, 4, 3, 1, "1.jpg"), (2, 3, 30, 40, 2, "2.jpg"), (1, 1, 2, 2, 2, "3.jpg")]
TEST = [(1, 1, 4, 3, 2, "1.jpg"), (5, 6, 7, 8, 1, "2.jpg")]


def records(rows, fields):
    array = np.zeros((1, len(rows)), dtype=[(name, object) for name in fields])
    for place, row in enumerate(rows):
        array[0, place] = row
    return array


def save_devkit(folder, train=TRAIN, test=TEST, names=NAMES, fields=DEVKIT):
    folder.mkdir(exist_ok=True)
    savemat(folder / "cars_train_annos.mat", {"annotations": records(train, fields)})
    savemat(folder / "cars_test_annos_withlabels.mat", {"annotations": records(test, DEVKIT)})
    savemat(folder / "cars_meta.mat", {"class_names": np.array(names, dtype=object)})


def save_combined(root, rows, names=NAMES):
    content = {
        "annotations": records(rows, COMBINED),
        "class_names": np.array(names, dtype=object),
    }
    savemat(root / "cars_annos.mat", content)


def read(root):
    return read_index(DataSpec(dataset="cars", root=str(root)))


def refusal(root):
    with pytest.raises(DataError) as caught:
        read(root)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["devkit", "."])
def test_devkit(tmp_path, folder):
    save_devkit(tmp_path / folder)
    index = read(tmp_path)
    assert index.paths == tuple(
        [f"cars_train/{i}.jpg" for i in (1, 2, 3)] + [f"cars_test/{i}.jpg" for i in (1, 2)]
    )
    assert index.labels.tolist() == [0, 1, 1, 1, 0]
    assert index.labels.dtype == np.int64
    assert index.splits.tolist() == ["train"] * 3 + ["test"] * 2
    assert index.class_names == NAMES


def test_boxes_are_zero_based_and_half_open(tmp_path):
    save_devkit(tmp_path)
    boxes = read(tmp_path).boxes
    assert boxes.dtype == np.float64
    assert boxes[0].tolist() == [0, 0, 4, 3]
    assert boxes[1].tolist() == [1, 2, 30, 40]


def test_photo_folders_nested_in_themselves_are_found(tmp_path):
    save_devkit(tmp_path)
    (tmp_path / "cars_train" / "cars_train").mkdir(parents=True)
    paths = read(tmp_path).paths
    assert paths[0] == "cars_train/cars_train/1.jpg"
    assert paths[-1] == "cars_test/2.jpg"


def test_combined(tmp_path):
    rows = [
        ("car_ims/1.jpg", 1, 1, 4, 3, 1, 0),
        ("car_ims/2.jpg", 2, 3, 30, 40, 2, 1),
        ("car_ims/3.jpg", 1, 1, 2, 2, 2, 0),
        ("car_ims/4.jpg", 1, 1, 2, 2, 1, 1),
    ]
    save_combined(tmp_path, rows)
    index = read(tmp_path)
    assert index.paths == ("car_ims/1.jpg", "car_ims/2.jpg", "car_ims/3.jpg", "car_ims/4.jpg")
    assert index.splits.tolist() == ["train", "test", "train", "test"]
    assert index.labels.tolist() == [0, 1, 1, 0]
    assert index.boxes[1].tolist() == [1, 2, 30, 40]
    assert index.class_names == NAMES


def test_combined_with_another_test_flag_is_refused(tmp_path):
    save_combined(
        tmp_path, [("car_ims/1.jpg", 1, 1, 4, 3, 1, 0), ("car_ims/2.jpg", 1, 1, 4, 3, 1, 2)]
    )
    assert "cars_annos.mat row 2: '2'" in refusal(tmp_path)


@pytest.mark.parametrize("label", [0, 3, -1, -100, 1.5, float("nan"), "two"])
def test_label_beyond_the_table_is_refused_with_its_row(tmp_path, label):
    save_devkit(tmp_path, train=[*TRAIN, (1, 1, 4, 3, label, "4.jpg")])
    text = refusal(tmp_path)
    assert "row 4" in text
    assert "(1)" in text


def test_impossible_box_and_path_are_refused_with_their_rows(tmp_path):
    save_devkit(tmp_path, test=[*TEST, (9, 1, 4, 3, 1, "3.jpg")])
    assert "cars_test_annos_withlabels.mat row 3" in refusal(tmp_path)
    save_devkit(tmp_path, test=[*TEST, (1, 1, 4, 3, 1, "../../etc/passwd")])
    assert "row 3: 'cars_test/../../etc/passwd'" in refusal(tmp_path)


def test_photo_listed_twice_is_refused(tmp_path):
    save_devkit(tmp_path, test=[*TEST, TEST[0]])
    assert "row 1 (test), cars_test_annos_withlabels.mat row 3 (test)" in refusal(tmp_path)


def test_lacking_fields_are_all_named(tmp_path):
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_z", "klass", "fname")
    save_devkit(tmp_path, fields=fields)
    text = refusal(tmp_path)
    assert "cars_train_annos.mat" in text
    assert "bbox_y2" in text
    assert "class" in text


def test_lacking_variable_is_named(tmp_path):
    save_devkit(tmp_path)
    savemat(tmp_path / "cars_meta.mat", {"names": np.array(NAMES, dtype=object)})
    assert "class_names" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 20, b"\0" * 400])
def test_what_is_no_mat_file_is_refused_by_name(tmp_path, content):
    save_devkit(tmp_path)
    (tmp_path / "cars_train_annos.mat").write_bytes(content)
    assert "cars_train_annos.mat" in refusal(tmp_path)


def test_a_damaged_mat_file_that_ends_scipys_reader_is_refused_by_name(tmp_path):
    save_devkit(tmp_path)
    file = tmp_path / "cars_train_annos.mat"
    content = bytearray(file.read_bytes())
    assert content[144] == 2, "the class of the variable: a struct"
    content[144] = 5  # sparse; scipy 1.17 ends in a segmentation fault
    file.write_bytes(content)
    assert "cars_train_annos.mat" in refusal(tmp_path)


def test_mat_file_cut_anywhere_is_refused_by_name(tmp_path):
    save_devkit(tmp_path)
    whole = (tmp_path / "cars_train_annos.mat").read_bytes()
    for n_bytes in range(0, len(whole), 97):
        (tmp_path / "cars_train_annos.mat").write_bytes(whole[:n_bytes])
        assert "cars_train_annos.mat" in refusal(tmp_path)


def test_missing_files_are_all_named_with_what_to_do(tmp_path):
    save_devkit(tmp_path)
    (tmp_path / "cars_meta.mat").unlink()
    (tmp_path / "cars_test_annos_withlabels.mat").rename(tmp_path / "cars_test_annos.mat")
    text = refusal(tmp_path)
    assert "cars_meta.mat" in text
    assert "(2)" in text
    assert "--data.root" in text
    assert "f2c prepare cars --from" in text


def test_complete_set_demands_the_published_split(tmp_path, monkeypatch):
    save_devkit(tmp_path)
    monkeypatch.setattr(stanford_cars, "COMPLETE", (3, 2, 2))
    assert len(read(tmp_path)) == 5
    monkeypatch.setattr(stanford_cars, "COMPLETE", (2, 3, 2))
    assert "3 train and 2 test photos, the complete set has 2 and 3" in refusal(tmp_path)
    # Other totals, or other classes: a part, or another set, of which nothing is known.
    for complete in ((3, 3, 2), (2, 3, 196)):
        monkeypatch.setattr(stanford_cars, "COMPLETE", complete)
        assert len(read(tmp_path)) == 5


def test_published_facts_are_registered():
    assert DATASETS["cars"].complete == (8144, 8041, 196)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos of shared/data are not here")
def test_real_part():
    index = read(REAL)
    assert index.rows("train").size == 6400
    assert index.rows("test").size == 1744
    assert len(index.class_names) == 196
    assert all((REAL / path).is_file() for path in index.paths)
