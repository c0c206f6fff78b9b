"""All bad photos in one report, and the same photo in two splits."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.cli import main
from trainables.audit import audit, jpeg_complaint, look_of
from trainables.index import Index


def drawn(seed: int, side_px: int = 96) -> Image.Image:
    """A photo with shapes, unlike that of any other seed."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side_px, side_px), Image.Resampling.BICUBIC)


def index_of(root: Path, photos: dict[str, str]) -> Index:
    n = len(photos)
    return Index(
        "folder", root, tuple(photos), np.zeros(n, np.int64), np.full((n, 4), np.nan),
        np.array(list(photos.values())), ("a",),
    )  # fmt: skip


def audited(root: Path, photos: dict[str, str]):
    return audit(index_of(root, photos), lambda *_: None)


def save(root: Path, name: str, photo: Image.Image, **options) -> None:
    photo.save(root / name, **options)


def test_sound_photos_that_differ_pass(tmp_path):
    for number in range(4):
        save(tmp_path, f"{number}.jpg", drawn(number))
    found = audited(tmp_path, {f"{n}.jpg": "train" if n < 2 else "test" for n in range(4)})
    assert (found.n_photos, found.bad, found.doubtful, found.shared, found.similar) == (
        4, (), (), (), ()
    )  # fmt: skip


def test_d01_d03_all_bad_photos_are_in_one_report(tmp_path):
    save(tmp_path, "good.jpg", drawn(1))
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "empty.jpg").touch()
    names = ("good.jpg", "cut.jpg", "page.jpg", "empty.jpg", "gone.jpg")
    found = audited(tmp_path, dict.fromkeys(names, "train"))
    assert [line.split("'")[1] for line in found.bad] == list(names[1:])


@pytest.mark.parametrize("seed", range(8))
def test_d02_a_jpeg_overwritten_in_its_middle_is_bad_or_doubtful_where_its_decoder_sees_it(
    tmp_path, seed
):
    save(tmp_path, "a.jpg", drawn(seed, 200), quality=90)
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff\xd9" + bytes(198)
    (tmp_path / "a.jpg").write_bytes(content)
    found = audited(tmp_path, {"a.jpg": "train"})
    assert found.bad or "JPEG" in found.doubtful[0]


def test_d02_the_decoder_s_complaint_is_none_for_sound_photos_of_any_kind(tmp_path):
    save(tmp_path, "a.jpg", drawn(1))
    save(tmp_path, "grey.jpg", drawn(1).convert("L"))
    save(tmp_path, "print.jpg", drawn(1).convert("CMYK"))
    save(tmp_path, "a.png", drawn(1))
    assert [jpeg_complaint(tmp_path / n) for n in ("a.jpg", "grey.jpg", "print.jpg", "a.png")] == [
        "", "", "", "",
    ]  # fmt: skip


def test_d16_equal_pixels_in_two_splits_are_found_whatever_the_file(tmp_path):
    save(tmp_path, "a.png", drawn(1))
    save(tmp_path, "b.bmp", drawn(1))
    save(tmp_path, "c.png", drawn(2))
    found = audited(tmp_path, {"a.png": "train", "b.bmp": "test", "c.png": "test"})
    assert found.shared == ("'a.png' (train) = 'b.bmp' (test)",)
    assert found.similar == ()


def test_d16_a_photo_that_was_made_smaller_and_compressed_looks_alike(tmp_path):
    save(tmp_path, "a.png", drawn(1, 160))
    save(tmp_path, "b.jpg", drawn(1, 160).resize((120, 120)), quality=60)
    found = audited(tmp_path, {"a.png": "train", "b.jpg": "test"})
    assert found.shared == ()
    assert found.similar == ("'b.jpg' (test) ~ 'a.png' (train)",)


def test_repeats_within_a_split_are_counted_only(tmp_path):
    save(tmp_path, "a.png", drawn(1))
    save(tmp_path, "b.png", drawn(1))
    found = audited(tmp_path, {"a.png": "train", "b.png": "train"})
    assert (found.shared, found.n_repeated) == ((), 1)


def test_blank_photos_look_like_nothing():
    assert look_of(np.full((50, 60, 3), 200, np.uint8)) is None


def test_looks_survive_compression():
    buffer = io.BytesIO()
    drawn(3).save(buffer, "JPEG", quality=40)
    again = np.array(Image.open(buffer).convert("RGB"))
    assert (look_of(again) ^ look_of(np.array(drawn(3)))).bit_count() <= 4


def folder(root: Path) -> Path:
    for number, split in enumerate(("train", "train", "test", "test")):
        for label in ("a", "b"):
            place = root / split / label
            place.mkdir(parents=True, exist_ok=True)
            drawn(number + 10 * (label == "b")).save(place / f"{number}.png")
    return root


def test_d16_verify_names_what_two_splits_share_with_status_65(tmp_path, capsys):
    photos = folder(tmp_path / "photos")
    command = ["prepare", "folder", "--from", str(photos), "--root", str(tmp_path / "runs")]
    assert main([*command, "--verify"]) == 0
    assert "8 photos read, 0 bad" in capsys.readouterr().out
    (photos / "test" / "a" / "copy.png").write_bytes(
        (photos / "train" / "a" / "0.png").read_bytes()
    )
    (photos / "test" / "a" / "bad.jpg").touch()
    assert main([*command, "--verify"]) == 65
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "copy.png" in printed
    assert "bad.jpg" in printed
    report = (tmp_path / "runs" / "data" / "verified.txt").read_text()
    assert "'train/a/0.png' (train)" in report


def test_verify_of_a_recipe_that_draws_its_photos_has_nothing_to_read(tmp_path, capsys):
    assert main(["prepare", "tests/small.yaml", "--root", str(tmp_path), "--verify"]) == 0
    assert "ready" in capsys.readouterr().out
