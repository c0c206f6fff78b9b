"""Benchmarks run as a user runs them: one command, in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def benchmark(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run `benchmarks/NAME.py FLAGS` at a tiny size; what it kept, its rows by their names."""

    def run(name: str, *flags: str) -> dict[str, Any]:
        script = REPOSITORY / "benchmarks" / f"{name}.py"
        out = Path(tempfile.mkdtemp(dir=tmp_path))
        command = [sys.executable, str(script), "--out", str(out), *flags]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        (kept,) = out.glob(f"{name}*.json")
        record = json.loads(kept.read_text())
        return record | {"rows": {row["name"]: row for row in record["rows"]}}

    return run
