"""What `f2c predict` cannot do is said before a network is loaded."""

import pytest

from orchestrator.cli import main

CELL = "staged_hl/h3-l5/s0"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--picture", "x.xyz"], "--picture x.xyz does not end with .png, .jpg, .webp, .svg, .pdf"),
        (["--picture", "x"], "--picture x does not end with .png"),
        (["--json", "."], "--json . is a folder"),
    ],
)
def test_a_file_that_could_not_be_written_is_refused_before_predicting(
    tmp_path, capsys, flags, complaint
):
    command = ["predict", "demo", CELL, "photo.jpg", *flags, "--root", str(tmp_path)]
    assert main(command) == 2
    assert complaint in capsys.readouterr().out
