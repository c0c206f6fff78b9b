"""Tables of 10,000 cells with 5 seeds: seconds and peak memory of reading, testing, tabulating.

`python benchmarks/many_cells.py [--cells 10000] [--seeds 5]`; the results are made up.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.compare import compare
from analysis.runs import load, over_seeds
from analysis.tables import write_tables

RECIPE = {"name": "many", "data": {"dataset": "synthetic", "canvas_px": 48, "resolution_px": 16}}


def made_up(n_cells: int, n_seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cell, seed = np.divmod(np.arange(n_cells * n_seeds), n_seeds)
    names = [f"s{c}/h8-l8/s{s}" for c, s in zip(cell, seed, strict=True)]
    right = rng.binomial(8041, rng.random((2, len(cell))))
    columns = {"cell": names, "strategy": [f"s{c}" for c in cell], "seed": seed}
    levels = dict.fromkeys(("high_level", "low_level"), 8) | dict.fromkeys(("n_high", "n_low"), 400)
    same = {"table": "custom", "dataset": "synthetic", "model": "tiny", "resolution_px": 16}
    same |= {"canvas_px": 48, "status": "done", "n_test": 8041, "n_classes": 196}
    same |= {"stage_key": "k", "trial_id": "t", "train_s": 1.0}
    accuracies = {"accuracy_high": right[0] / 8041, "accuracy_low": right[1] / 8041}
    return pd.DataFrame(columns | levels | same | accuracies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made_up(given.cells, given.seeds).to_parquet(Path(folder) / "results.parquet")
        began, cpu = time.perf_counter(), time.process_time()
        frame = load(folder)
        print(f"read {time.perf_counter() - began:.2f} s")
        over_seeds(frame)
        print(f"and means over seeds {time.perf_counter() - began:.2f} s")
        compare(frame, "custom")
        print(f"and tested {time.perf_counter() - began:.2f} s")
        write_tables(frame, RECIPE, Path(folder))
        seconds = time.perf_counter() - began
        print(f"and tabulated {seconds:.2f} s, CPU {time.process_time() - cpu:.2f} s")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
