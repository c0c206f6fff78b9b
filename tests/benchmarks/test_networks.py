"""LRN, heat maps and super-resolution: every side computes the same; the benchmarks assert it."""

import pytest


def test_the_lrns_give_the_same_logits(benchmark):
    rows = benchmark("lrn", "--batch", "2", "--rounds", "1")["rows"]
    assert set(rows) == {"lrn/torch", "lrn/none"}


def test_heat_maps_agree_and_captum_makes_as_many_passes(benchmark):
    pytest.importorskip("captum", reason="of the extra `bench`")
    flags = ("--network", "tiny", "--patch-px", "32", "--stride-px", "32", "--rounds", "1")
    rows = benchmark("occlusion", *flags)["rows"]
    ways = ("captum", "captum, freed memory kept", "batched")
    assert set(rows) == {f"occlusion/{way}" for way in ways}
    difference = rows["occlusion/captum"]["details"]["largest relative difference of the maps"]
    assert difference < 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forest_and_srcnn_give_as_large_photos(benchmark, shared_data):
    flags = ("--data", str(shared_data), "--photos", "16", "--rounds", "1")
    ways = ("srcnn", "srcnn, freed memory kept")
    rows = benchmark("nbsrf_srcnn", *flags)["rows"]
    assert set(rows) == {f"nbsrf_srcnn/{way}" for way in ways}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forest_and_dictionary_are_compared_at_the_same_psnr(benchmark, shared_data):
    flags = ("--data", str(shared_data), "--atoms", "64", "--rounds", "1")
    row = benchmark("nbsrf_dictionary", *flags)["rows"]["nbsrf_dictionary/dictionary"]
    decibels = row["details"]["PSNR, dB"]
    assert decibels["forest"] >= decibels["dictionary"] - 0.05
