"""An epoch of each side has the same images and updates, and reads the same pixels."""


def test_every_side_takes_all_images_in_as_many_updates(benchmark):
    size = ("--photos", "16", "--batch", "8", "--canvas-px", "48", "--rounds", "2")
    record = benchmark("training", "--models", "tiny", *size)
    kinds = {"recipe", "bare", "operations floor over time", "recipe, floor over time"}
    kinds |= {"recipe's time over our floor"}
    assert set(record["rows"]) == {f"training/tiny/{kind}" for kind in kinds}
    row = record["rows"]["training/tiny/recipe"]
    assert row["details"]["images and updates"] == [16, 2]
    assert row["rounds"] == 2
    assert row["low"] <= row["median"] <= row["high"]
    assert record["command"].startswith("python benchmarks/training.py --out")
    assert "torch" in record["versions"]
