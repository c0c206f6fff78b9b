"""Preparing and reading: every side makes, and gives, the same pixels; the benchmarks assert it."""

import pytest

SIZE = ("--canvas-px", "64", "--low-px", "16")


def test_both_sides_prepare_the_same_pixels(benchmark):
    flags = ("--small", "32", "--large", "64", "--rounds", "1", "--ray-rounds", "0")
    record = benchmark("preparation", *flags, *SIZE)
    assert set(record["rows"]) == {"preparation/dataloader"}
    details = record["rows"]["preparation/dataloader"]["details"]
    assert details["sizes"] == [32, 64]
    assert set(details["marginal, photos/s"]) == {"ours", "dataloader"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ray_data_prepares_the_same_pixels(benchmark):
    flags = ("--small", "32", "--large", "64", "--rounds", "1", "--ray-rounds", "1")
    rows = benchmark("preparation", *flags, *SIZE)["rows"]
    assert set(rows) == {"preparation/dataloader", "preparation/ray_data"}


@pytest.mark.slow
@pytest.mark.ray
def test_a_streamed_epoch_gives_the_same_bytes_as_the_mapped_one(benchmark):
    flags = ("--photos", "48", "--batch", "8", "--rounds", "1")
    rows = benchmark("streaming", *flags, *SIZE)["rows"]
    assert all(name.startswith("streaming/images a second, streamed") for name in rows)
    assert set(rows["streaming/images a second, streamed"]["details"]["sides"]) == {
        "mapped", "here", "streamed"
    }  # fmt: skip


def test_every_reader_gives_the_same_bytes(benchmark):
    pytest.importorskip("webdataset", reason="of the extra `bench`")
    flags = ("--photos", "32", "--batch", "8", "--rounds", "1", "--canvas-px", "64")
    rows = benchmark("reading", *flags, "--low-px", "16")["rows"]
    readers = {"webdataset", "dataloader", "decoding", "dataloader with __getitems__"}
    readers |= {"bytes copied alone", "dataloader, freed memory kept", "low_bytes"}
    assert set(rows) == {f"reading/{name}" for name in readers}
    assert rows["reading/low_bytes"]["median"] == 1 / 16
