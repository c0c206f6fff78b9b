"""Names that a person reads in MLflow."""

import pytest

from orchestrator.run_tags import run_name


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("staged_hl/h3-l5/s0", "staged_hl H3 L5 s0"),
        ("staged_hl/h8-l8-25px/s2", "staged_hl H8 L8 25 px s2"),
    ],
)
def test_a_cell_reads_as_its_strategy_levels_resolution_and_seed(cell, name):
    assert run_name(cell) == name
