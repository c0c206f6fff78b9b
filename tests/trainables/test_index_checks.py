from pathlib import Path

import numpy as np
import pytest

from trainables import index_checks as checks
from trainables.errors import DataError
from trainables.index import Index
from trainables.spec import DataSpec

NAN = float("nan")


def make_index(root, paths, boxes=None, splits=None, labels=None, class_names=("a", "b")):
    n = len(paths)
    return Index(
        dataset="demo",
        root=root,
        paths=tuple(paths),
        labels=np.array([i % 2 for i in range(n)] if labels is None else labels, dtype=np.int64),
        boxes=np.full((n, 4), NAN) if boxes is None else np.array(boxes, dtype=np.float64),
        splits=np.array(["train"] * n if splits is None else splits, dtype="<U10"),
        class_names=class_names,
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        (".", "empty"),
        ("../secret.jpg", "'..'"),
        ("a/../../secret.jpg", "'..'"),
        ("/etc/passwd", "absolute"),
        ("a\0.jpg", "control"),
        ("a\nb.jpg", "control"),
        ("a\x1b[31m.jpg", "control"),
        ("a\udcff.jpg", "control"),
        ("x" * 300 + ".jpg", "too long"),
    ],
)
def test_s10_path_that_is_no_plain_name_is_refused_with_its_row(tmp_path, path, reason):
    index = make_index(tmp_path, ["fine.jpg", path])
    with pytest.raises(DataError) as caught:
        checks.check_paths(index, ["line 2", "line 3"])
    assert "line 3" in str(caught.value)
    assert "line 2" not in str(caught.value)
    assert reason in str(caught.value)


def test_odd_but_harmless_paths_pass(tmp_path):
    names = [
        "a b.jpg",
        "é.jpg",
        "e\u0301.jpg",
        "q?*[1]%25.jpg",
        "-x.jpg",
        "..x.jpg",
        "y" * 251 + ".jpg",
    ]
    for name in names:
        (tmp_path / name).touch()
    checks.check_paths(make_index(tmp_path, [*names, "not/there.jpg"]))


def test_links_may_stay_inside_and_may_not_leave(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "a.jpg").touch()
    (outside / "b.jpg").touch()
    (root / "inside.jpg").symlink_to("a.jpg")
    (root / "file_out.jpg").symlink_to(outside / "b.jpg")
    (root / "folder_out").symlink_to(outside)
    (root / "circle.jpg").symlink_to("circle.jpg")
    (root / "circle").symlink_to("circle")
    checks.check_paths(make_index(root, ["a.jpg", "inside.jpg"]))
    bad = ["file_out.jpg", "folder_out/b.jpg", "circle.jpg", "circle/c.jpg"]
    with pytest.raises(DataError) as caught:
        checks.check_paths(make_index(root, ["a.jpg", *bad]))
    assert all(repr(path) in str(caught.value) for path in bad)
    assert "(4)" in str(caught.value)


def test_root_may_itself_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    checks.check_paths(make_index(tmp_path / "link", ["a.jpg"]))


def test_folder_in_place_of_a_photo_is_refused(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    with pytest.raises(DataError, match=r"(?s)row 0.*not a file.*row 1.*not a file"):
        checks.check_paths(make_index(tmp_path, ["a.jpg", "b.jpg"]))


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0, 0, NAN, 5], "partly set"),
        ([NAN, 0, 5, 5], "partly set"),
        ([0, 0, float("inf"), 5], "infinite"),
        ([float("-inf"), 0, float("inf"), 5], "infinite"),
        ([5, 0, 1, 5], "negative"),
        ([0, 5, 5, 1], "negative"),
        ([3, 0, 3, 5], "without area"),
        ([-9, 0, -1, 5], "outside"),
        ([-9, 0, 0, 5], "outside"),
    ],
)
def test_d13_impossible_box_is_refused_with_its_row(tmp_path, box, reason):
    with pytest.raises(DataError, match=rf"(?s)\(1\).*row 1: 'b.jpg'.*{reason}"):
        checks.check_boxes(make_index(tmp_path, ["a.jpg", "b.jpg"], [[0, 0, 1, 1], box]))


def test_whole_photo_and_partly_outside_pass(tmp_path):
    checks.check_boxes(make_index(tmp_path, ["a.jpg", "b.jpg"], [[NAN] * 4, [-1, -1, 9.5, 1e4]]))


def test_many_faults_are_counted_and_twenty_shown(tmp_path):
    with pytest.raises(DataError) as caught:
        checks.check_paths(make_index(tmp_path, [f"../{i}.jpg" for i in range(25)]))
    lines = str(caught.value).splitlines()
    assert "(25)" in lines[0]
    assert sum("'..'" in line for line in lines) == 20
    assert "and 5 more" in lines[-2]


def test_d11_repeated_photo_is_refused_with_all_rows(tmp_path):
    index = make_index(tmp_path, ["a.jpg", "b.jpg", "a.jpg"], splits=["train", "train", "test"])
    with pytest.raises(DataError, match=r"row 0 \(train\), row 2 \(test\): 'a.jpg'"):
        checks.check_unique(index)
    checks.check_unique(index.take(np.array([0, 1])))


def test_classes_without_photos_are_named(tmp_path):
    index = make_index(
        tmp_path,
        ["1.jpg", "2.jpg", "3.jpg"],
        splits=["train", "train", "test"],
        labels=[0, 1, 0],
        class_names=("robin", "wren", "gull"),
    )
    with pytest.raises(DataError) as caught:
        checks.check_classes(index)
    text = str(caught.value)
    assert "'gull' has no train photo" in text
    assert "'gull' has no test photo" in text
    assert "'wren' has no test photo" in text
    assert "robin" not in text


def test_empty_split_and_bad_class_names_are_refused(tmp_path):
    index = make_index(tmp_path, ["1.jpg", "2.jpg"], class_names=("x\x1b[2J", "x\x1b[2J"))
    with pytest.raises(DataError, match=r"(?s)no test photo at all.*control.*2 times") as caught:
        checks.check_classes(index, ("train",))
    assert "\x1b" not in str(caught.value)


def test_counts(tmp_path):
    index = make_index(tmp_path, ["1.jpg", "2.jpg"], splits=["train", "test"])
    checks.check_counts(index, 1, 1)
    with pytest.raises(DataError, match="1 train and 1 test photos, the complete set has 2 and 0"):
        checks.check_counts(index, 2, 0)


def test_find_root_names_all_that_is_missing(tmp_path):
    (tmp_path / "a.txt").touch()
    data = DataSpec(dataset="demo", root=str(tmp_path))
    assert checks.find_root(data, ("a.txt",), "do this") == tmp_path.resolve()
    with pytest.raises(DataError, match=r"(?s)\(2\).*b.txt.*c.txt.*do this"):
        checks.find_root(data, ("a.txt", "b.txt", "c.txt"), "do this")


@pytest.mark.parametrize("root", [None, "not-there"])
def test_find_root_without_a_folder_says_what_it_shall_hold(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"(?s)a.txt, b.txt.*do this"):
        checks.find_root(DataSpec(dataset="demo", root=root), ("a.txt", "b.txt"), "do this")


def test_find_root_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    assert checks.find_root(DataSpec(root="photos"), (), "").is_absolute()
