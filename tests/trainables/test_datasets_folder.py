import math
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables import datasets
from trainables.datasets.folder import read_index
from trainables.errors import ConfigError, DataError
from trainables.spec import DataSpec

HEADER = "path,label,split\n"
ROWS = "a1.jpg,a,train\na2.jpg,a,test\nb1.jpg,b,train\nb2.jpg,b,test\n"


def read(root, **fields):
    return read_index(DataSpec(dataset="folder", root=str(root), **fields))


def refusal(root):
    with pytest.raises(DataError) as caught:
        read(root)
    return str(caught.value)


def make_photos(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"photo")


def write_csv(root, text):
    file = root / "index.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


# --- class folders ---


def test_train_and_test_folders(tmp_path):
    make_photos(tmp_path, "train/b/1.jpg", "train/a/1.JPEG", "test/a/2.png", "test/b/2.webp")
    index = read(tmp_path)
    assert index.paths == ("train/a/1.JPEG", "train/b/1.jpg", "test/a/2.png", "test/b/2.webp")
    assert index.labels.tolist() == [0, 1, 0, 1]
    assert index.labels.dtype == np.int64
    assert index.splits.tolist() == ["train", "train", "test", "test"]
    assert index.class_names == ("a", "b")
    assert np.isnan(index.boxes).all()
    assert index.boxes.shape == (4, 4)


def test_validation_folder_is_read_too(tmp_path):
    make_photos(tmp_path, "train/a/1.jpg", "test/a/2.jpg", "validation/a/3.jpg")
    assert Counter(read(tmp_path).splits) == {"train": 1, "test": 1, "validation": 1}


def test_d17_classes_missing_from_a_split_do_not_shift_labels_but_are_named(tmp_path):
    make_photos(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg")
    make_photos(tmp_path, "test/a/2.jpg", "test/c/2.jpg", "test/d/2.jpg")
    text = refusal(tmp_path)
    assert "'b' has no test photo" in text
    assert "'d' has no train photo" in text
    assert "'a'" not in text


def test_train_without_test_is_refused(tmp_path):
    make_photos(tmp_path, "train/a/1.jpg")
    assert "test/" in refusal(tmp_path)


def test_plain_class_folders_are_split_per_class(tmp_path):
    make_photos(tmp_path, *(f"{name}/{i}.jpg" for name in "abc" for i in range(10)))
    make_photos(tmp_path, "pair/1.jpg", "pair/2.jpg", "single/1.jpg")
    index = read(tmp_path, test_fraction=0.3)
    tested = Counter(index.class_names[k] for k in index.labels[index.rows("test")])
    assert tested == {"a": 3, "b": 3, "c": 3, "pair": 1}
    assert index.rows("train").size + index.rows("test").size == len(index) == 33


def test_split_is_the_same_again_and_for_a_class_alone(tmp_path):
    make_photos(tmp_path / "two", *(f"{name}/{i}.jpg" for name in "ab" for i in range(20)))
    make_photos(tmp_path / "one", *(f"a/{i}.jpg" for i in range(20)))

    def tested(root):
        index = read(root)
        paths = {index.paths[row] for row in index.rows("test")}
        return {path for path in paths if path.startswith("a/")}

    assert tested(tmp_path / "two") == tested(tmp_path / "two") == tested(tmp_path / "one")
    assert len(tested(tmp_path / "one")) == 4


def test_numbers_are_ordered_by_value(tmp_path):
    make_photos(tmp_path, *(f"{k}/{i}.jpg" for k in (10, 9, 1) for i in range(2)))
    assert read(tmp_path).class_names == ("1", "9", "10")


def test_hidden_files_and_files_that_are_no_photos_are_passed_over(tmp_path):
    make_photos(
        tmp_path, "a/1.jpg", "a/2.jpg", "a/.3.jpg", "a/notes.txt", ".git/1.jpg", "README.md"
    )
    assert read(tmp_path).paths == ("a/1.jpg", "a/2.jpg")


def test_d03_pictures_of_kinds_that_are_not_read_are_listed_and_never_passed_over(tmp_path):
    make_photos(tmp_path, "train/a/1.jpg", "train/a/3.GIF", "train/a/deep/4.tif")
    make_photos(tmp_path, "test/a/1.jpg", "test/a/5.heic", "test/a/notes.txt")
    text = refusal(tmp_path)
    assert "pictures of kinds that are not read (3):" in text
    for name in ("train/a/3.GIF", "train/a/deep/4.tif", "test/a/5.heic"):
        assert repr(name) in text
    assert "save them as JPEG, PNG, BMP or WebP" in text


def test_nested_photos_are_found(tmp_path):
    make_photos(tmp_path, "a/1.jpg", "a/deep/er/2.jpg")
    assert read(tmp_path).paths == ("a/1.jpg", "a/deep/er/2.jpg")


def test_photos_outside_class_folders_are_refused(tmp_path):
    make_photos(tmp_path, "a/1.jpg", "a/2.jpg", "stray.jpg")
    assert "stray.jpg" in refusal(tmp_path)


def test_folder_without_photos_is_named(tmp_path):
    make_photos(tmp_path, "a/1.jpg", "a/2.jpg", "empty/notes.txt")
    assert "'empty' has no train photo" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a b", "é", "e\u0301", "q?*[1]%25", "-x", "y" * 251])
def test_odd_names_are_kept_as_they_are(tmp_path, name):
    make_photos(tmp_path, f"{name[:200]}/{name}.jpg", f"{name[:200]}/2.jpg")
    index = read(tmp_path)
    assert f"{name[:200]}/{name}.jpg" in index.paths
    assert len(index) == 2


def test_file_name_with_a_newline_is_refused(tmp_path):
    make_photos(tmp_path, "a/1.jpg", "a/2\n.jpg")
    assert "control character" in refusal(tmp_path)


def test_s11_class_name_that_would_control_the_terminal_is_refused(tmp_path):
    make_photos(tmp_path, "a\x1b[2J/1.jpg", "a\x1b[2J/2.jpg")
    assert "\x1b" not in refusal(tmp_path)


def test_links_inside_are_followed(tmp_path):
    make_photos(tmp_path, "store/1.jpg", "store/2.jpg", "root/a/1.jpg", "root/.pool/3.jpg")
    root = tmp_path / "root"
    (root / "a" / "2.jpg").symlink_to("1.jpg")
    (root / "b").symlink_to(".pool")
    assert read(root).paths == ("a/1.jpg", "a/2.jpg", "b/3.jpg")


def test_d21_links_to_the_outside_are_refused(tmp_path):
    make_photos(tmp_path, "outside/1.jpg", "root/a/1.jpg")
    root = tmp_path / "root"
    (root / "a" / "2.jpg").symlink_to(tmp_path / "outside" / "1.jpg")
    (root / "b").symlink_to(tmp_path / "outside")
    text = refusal(root)
    assert "'a/2.jpg': leads out of the root" in text
    assert "'b': leads out of the root" in text


def test_d21_circles_of_links_end_and_bring_no_photos_of_other_classes(tmp_path):
    make_photos(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "circle").symlink_to("circle")
    assert read(tmp_path).paths == ("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")


# --- tables ---


def test_csv_with_boxes_and_splits(tmp_path):
    file = write_csv(
        tmp_path,
        "label,path,split,x,y,w,h,note\n"
        "b,p/1.jpg,train,1,2,3,4.5,x\nb,p/2.jpg,test,,,,,\na,p/3.jpg,Train,0,0,1,1,\na,4.jpg,test,,,,,\n",
    )
    index = read(file)
    assert index.root == tmp_path.resolve()
    assert index.paths == ("p/1.jpg", "p/2.jpg", "p/3.jpg", "4.jpg")
    assert index.boxes[0].tolist() == [1, 2, 4, 6.5]
    assert np.isnan(index.boxes[1]).all()
    assert index.labels.tolist() == [1, 1, 0, 0]
    assert index.splits.tolist() == ["train", "test", "train", "test"]


def test_folder_with_index_csv_is_read_by_it(tmp_path):
    make_photos(tmp_path, "other/1.jpg")
    write_csv(tmp_path, HEADER + ROWS)
    assert read(tmp_path).paths == ("a1.jpg", "a2.jpg", "b1.jpg", "b2.jpg")


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + (HEADER + ROWS).encode(),
        (HEADER + ROWS).replace("\n", "\r\n").encode(),
        (HEADER + ROWS).replace("\n", "\r").encode(),
        (HEADER + ROWS).replace(",", ";").encode(),
        (HEADER + ROWS).replace(",", "\t").encode(),
        (HEADER + ROWS + "\n\r\n,,\n").encode(),
        (HEADER + ROWS).rstrip("\n").encode(),
        b'"Path", LABEL,split\n' + ROWS.encode(),
        (HEADER + ROWS + ROWS).encode(),
        (HEADER + ROWS + "./a1.jpg,a,train\n").encode(),
    ],
    ids=["bom", "crlf", "cr", ";", "tab", "blank", "no-end", "header", "repeats", "respelt"],
)
def test_d20_spellings_of_the_same_table(tmp_path, text):
    write_csv(tmp_path, text)
    index = read(tmp_path)
    assert index.paths == ("a1.jpg", "a2.jpg", "b1.jpg", "b2.jpg")
    assert index.class_names == ("a", "b")
    assert index.labels.tolist() == [0, 0, 1, 1]
    assert index.splits.tolist() == ["train", "test", "train", "test"]


def test_quoted_separators_are_part_of_the_value(tmp_path):
    write_csv(tmp_path, 'path,label\n"a,1.jpg","Audi, ""S4"""\na2.jpg,"Audi, ""S4"""\n')
    index = read(tmp_path)
    assert index.paths == ("a,1.jpg", "a2.jpg")
    assert index.class_names == ('Audi, "S4"',)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    write_csv(tmp_path, (HEADER + ROWS).encode() + "é.jpg,a,train\n".encode("latin-1"))
    assert "lines [6]" in refusal(tmp_path)
    write_csv(tmp_path, (HEADER + ROWS).encode("utf-16"))
    assert "not UTF-8" in refusal(tmp_path)


def test_d20_shifted_rows_are_refused_with_their_lines(tmp_path):
    write_csv(tmp_path, HEADER + ROWS + "a3.jpg,Audi, S4,train\n\na4.jpg,a\n")
    text = refusal(tmp_path)
    assert "line 6: 4 fields, the header has 3" in text
    assert "line 8: 2 fields, the header has 3" in text


def test_open_quote_is_refused_with_its_line(tmp_path):
    write_csv(tmp_path, HEADER + ROWS + '"a3.jpg,a,train\n')
    assert "line 6" in refusal(tmp_path)


@pytest.mark.parametrize(
    "header",
    ["file,label,split\n", "path,class,split\n", "", "path,label,path\n", "path,label,x\n"],
)
def test_wrong_columns_are_refused(tmp_path, header):
    write_csv(tmp_path, header + ROWS)
    assert "index.csv" in refusal(tmp_path)


@pytest.mark.parametrize("label", ["3.0", "nan", "NaN", "", "  ", "-1", "-100", "inf", "1e3", ".5"])
def test_d14_unusable_label_is_refused_with_its_line(tmp_path, label):
    write_csv(tmp_path, HEADER + ROWS + f"a3.jpg,{label},train\n")
    text = refusal(tmp_path)
    assert "line 6: label" in text
    assert "(1)" in text


def test_d14_a_label_of_thousands_of_digits_is_refused_with_its_line(tmp_path):
    write_csv(tmp_path, HEADER + ROWS + f"a3.jpg,{'9' * 5000},train\n")
    assert "line 6: label '9999" in refusal(tmp_path)


@pytest.mark.parametrize("label", ["0", "007", "x1", "3.0 l", "../x", "CON", "Nancy", "k" * 300])
def test_any_text_or_whole_number_is_a_label(tmp_path, label):
    write_csv(tmp_path, f"path,label\na.jpg,{label}\nb.jpg,{label}\n")
    assert read(tmp_path).class_names == (label,)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ("1,2,3,x", "no number"),
        ("1,2,3,", "partly set"),
        ("nan,2,3,4", "partly set"),
        ("1,2,inf,4", "infinite"),
        ("1,2,0,4", "without area"),
        ("1,2,3,-4", "negative"),
    ],
)
def test_impossible_box_is_refused_with_its_line(tmp_path, box, reason):
    write_csv(tmp_path, f"path,label,x,y,w,h\na.jpg,a,,,,\nb.jpg,a,{box}\n")
    text = refusal(tmp_path)
    assert "line 3" in text
    assert reason in text


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\0.jpg", '"a\nb.jpg"', ""])
def test_path_out_of_the_root_is_refused_with_its_line(tmp_path, path):
    write_csv(tmp_path, HEADER + ROWS + f"{path},a,train\n")
    last = 7 if "\n" in path else 6
    assert f"line {last}:" in refusal(tmp_path)


def test_unknown_split_is_refused_with_its_line(tmp_path):
    write_csv(tmp_path, HEADER + ROWS + "a3.jpg,a,dev\na4.jpg,a,\n")
    text = refusal(tmp_path)
    assert "line 6: split 'dev'" in text
    assert "line 7: split ''" in text


@pytest.mark.parametrize(
    ("row", "contradiction"),
    [
        ("a1.jpg,b,train", "label 'a' and 'b'"),
        ("a1.jpg,a,test", "split 'train' and 'test'"),
        ("x/../a1.jpg,a,train", "'..'"),
    ],
)
def test_d15_rows_that_contradict_are_refused_with_both_lines(tmp_path, row, contradiction):
    write_csv(tmp_path, HEADER + ROWS + row + "\n")
    text = refusal(tmp_path)
    assert contradiction in text
    assert "line 6" in text


def test_same_photo_with_another_box_is_refused(tmp_path):
    write_csv(tmp_path, "path,label,x,y,w,h\na.jpg,a,1,1,2,2\nb.jpg,a,,,,\na.jpg,a,1,1,3,3\n")
    assert "line 2 and line 4: 'a.jpg': box" in refusal(tmp_path)


def test_class_of_a_given_split_that_lacks_test_photos_is_named(tmp_path):
    write_csv(tmp_path, HEADER + ROWS + "c.jpg,c,train\nd.jpg,d,test\n")
    text = refusal(tmp_path)
    assert "'c' has no test photo" in text
    assert "'d' has no train photo" in text


@pytest.mark.parametrize("text", ["path,label\n", "path,label\na.jpg,a\n"])
def test_table_without_test_photos_is_refused(tmp_path, text):
    write_csv(tmp_path, text)
    assert "no test photo at all" in refusal(tmp_path)


def test_parquet_equals_csv(tmp_path):
    table = pd.DataFrame(
        {
            "path": ["a1.jpg", "a2.jpg", "b1.jpg", "b2.jpg"],
            "label": [0, 0, 1, 1],
            "split": pd.Categorical(["train", "test", "train", "test"]),
            "x": [1.5, math.nan, 0, 0],
            "y": [1.0, math.nan, 0, 0],
            "w": [2.25, math.nan, 3, 3],
            "h": [2.0, math.nan, 3, 3],
        }
    )
    (tmp_path / "year=2016").mkdir()
    table.to_parquet(tmp_path / "year=2016" / "birds.parquet")
    table.to_csv(tmp_path / "birds.csv")
    one, other = read(tmp_path / "year=2016" / "birds.parquet"), read(tmp_path / "birds.csv")
    assert one.paths == other.paths
    assert one.class_names == other.class_names == ("0", "1")
    assert one.labels.tolist() == other.labels.tolist()
    assert one.boxes[0].tolist() == [1.5, 1.0, 3.75, 3.0]
    assert np.array_equal(one.boxes, other.boxes, equal_nan=True)


@pytest.mark.parametrize("labels", [[0.0, 1.0], ["a", None], [math.nan, 1.0]])
def test_parquet_label_of_another_kind_is_refused_with_its_row(tmp_path, labels):
    pd.DataFrame({"path": ["1.jpg", "2.jpg"], "label": labels}).to_parquet(
        tmp_path / "index.parquet"
    )
    assert "row 2: label" in refusal(tmp_path) or "row 1: label" in refusal(tmp_path)


def test_parquet_of_texts_that_are_none_is_refused_by_name(tmp_path):
    broken = pa.array([b"\xff\xfe"], pa.binary()).cast(pa.string(), safe=False)
    table = pa.table({"path": ["1.jpg"], "label": broken})
    pq.write_table(table, tmp_path / "index.parquet")
    assert "cannot be read as Parquet" in refusal(tmp_path)


def test_damaged_parquet_is_refused_by_name(tmp_path):
    pd.DataFrame({"path": ["1.jpg"], "label": ["a"]}).to_parquet(tmp_path / "index.parquet")
    whole = (tmp_path / "index.parquet").read_bytes()
    for content in (b"", b"<html>", whole[:-5], whole[: len(whole) // 2]):
        (tmp_path / "index.parquet").write_bytes(content)
        assert "index.parquet" in refusal(tmp_path)


def test_parquet_without_the_columns_is_refused(tmp_path):
    pd.DataFrame({"file": ["1.jpg"], "label": ["a"]}).to_parquet(tmp_path / "index.parquet")
    assert "no columns path and label" in refusal(tmp_path)


def test_two_tables_or_none_are_refused(tmp_path):
    make_photos(tmp_path, "index.csv", "index.parquet", "notes.txt")
    assert "both" in refusal(tmp_path)
    assert "neither .csv nor .parquet" in refusal(tmp_path / "notes.txt")


def test_missing_root_says_what_to_do(tmp_path):
    assert "--data.root" in refusal(tmp_path / "not-there")
    with pytest.raises(DataError, match=r"data\.root is not set"):
        read_index(DataSpec(dataset="folder"))


# --- the registry ---


def test_registry_names_all_sets():
    assert set(datasets.DATASETS) == {"cub200", "cars", "folder", "synthetic"}
    drawn = [name for name, dataset in datasets.DATASETS.items() if dataset.read_photos]
    assert drawn == ["synthetic"]
    assert datasets.DATASETS["folder"].complete is None


def test_unknown_name_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(ConfigError, match=r"did you mean folder\?.*cub200, cars, folder") as caught:
        datasets.read_index(DataSpec(dataset="foldr", root="."))
    assert caught.value.exit_status == 2
    with pytest.raises(ConfigError) as caught:
        datasets.read_index(DataSpec(dataset="zzzz"))
    assert "did you mean" not in str(caught.value)


def test_registry_applies_the_choices(tmp_path):
    make_photos(tmp_path, *(f"{name}/{i}.jpg" for name in "abcd" for i in range(10)))
    data = DataSpec(dataset="folder", root=str(tmp_path), classes=2, validation=0.5)
    index = datasets.read_index(data)
    assert len(index.class_names) == 2
    assert Counter(index.splits) == {"train": 8, "validation": 8}
