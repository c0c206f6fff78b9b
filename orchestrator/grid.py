"""What `ray submit cluster.yaml orchestrator/grid.py` runs: `f2c run`, by path, from anywhere."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    # By path, this folder comes first: its modules would hide installed ones of the same name.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]
    if (HERE.parent / "trainables").is_dir():
        sys.path.insert(0, str(HERE.parent))

    from orchestrator.cli import main

    sys.exit(main(["run", *sys.argv[1:]]))
