"""`f2c heatmap` on a run of two cells: drawn, compared, kept, and refused in words."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from orchestrator.cli import main

pytestmark = pytest.mark.timeout(300)  # the run that all of them share
CELLS = ("staged_hl/h0-l8/s0", "staged_hl/h8-l8/s0")


class Ran:
    """A finished run of the largest cells of Low and Staged, tested on 24 photos."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "small"
        fields = yaml.safe_load((Path(__file__).parents[1] / "small.yaml").read_text())
        fields["cells"] = {"high": [0, 8], "low": [8]}
        fields["train"] |= {"epochs": 1}
        fields["data"]["synthetic"] |= {"n_test": 24}
        self.recipe = root / "small.yaml"
        self.recipe.write_text(yaml.safe_dump(fields))
        assert self.run() == 0
        self.page_of_the_run = self.page

    @property
    def flags(self) -> list[str]:
        return ["--root", str(self.root)]

    @property
    def page(self) -> str:
        return (self.folder / "tables" / "heatmaps.md").read_text().replace("\\", "")

    def run(self) -> int:
        return main(["run", str(self.recipe), *self.flags, "--executor", "inline"])

    def heatmap(self, *words: object) -> int:
        return main(["heatmap", str(self.recipe), *map(str, words), *self.flags])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("ran"))


def test_a_run_ends_with_heat_maps_of_a_few_photos_and_no_verdict_from_so_few(ran):
    assert "8 photos are too few" in ran.page_of_the_run
    assert (ran.folder / "figures" / "figure3.png").is_file()
    assert "Figure 3" in (ran.folder / "report.html").read_text()


def test_heat_maps_of_more_photos_are_compared_and_kept(ran, capsys):
    assert ran.heatmap("--images", 24, "--patch-px", 6) == 0
    words = capsys.readouterr().out
    assert "figure3" in words
    assert "report" in words
    measures = pd.read_parquet(ran.folder / "heatmaps.parquet")
    assert measures.groupby("cell").size().to_dict() == dict.fromkeys(CELLS, 24)
    assert "24 low-res test photos" in ran.page
    assert "patch 6 px" in ran.page
    assert "of the chance in training one network of each kind says nothing" in ran.page


def test_the_same_command_again_computes_nothing_and_draws_another_way(ran, monkeypatch):
    assert ran.heatmap("--images", 24, "--patch-px", 6) == 0
    monkeypatch.setattr("analysis.heat_runs.compute", lambda *_: pytest.fail("computed again"))
    drawn = (ran.folder / "figures" / "figure3.png").read_bytes()
    assert ran.heatmap("--images", 24, "--patch-px", 6, "--through", "binary") == 0
    assert (ran.folder / "figures" / "figure3.png").read_bytes() != drawn


def test_a_run_with_nothing_to_train_keeps_the_heat_maps_that_were_asked_for(ran):
    assert ran.heatmap("--images", 24, "--patch-px", 6) == 0
    asked = (ran.folder / "heatmaps.parquet").read_bytes()
    assert ran.run() == 0
    assert (ran.folder / "heatmaps.parquet").read_bytes() == asked
    assert "24 low-res test photos" in ran.page


def test_cells_are_compared_as_they_are_named(ran, capsys):
    assert ran.heatmap("--images", 8, "--cells", CELLS[1], CELLS[0]) == 0
    names = [cell.removesuffix("/s0") for cell in CELLS]
    assert (
        f"|  | {names[1]} | {names[0]} | {names[0]} \N{MINUS SIGN} {names[1]} [95 %] |" in ran.page
    )
    assert ran.heatmap("--images", 8, "--cells", CELLS[0], "staged_hl/h9-l9/s0") == 2
    assert "no cell staged_hl/h9-l9/s0 in this run; it has" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--images", "0"], "0 is below 1"),
        (["--stride-px", "few"], "invalid"),
        (["--through", "fog"], "invalid choice: 'fog'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_computed(ran, words, complaint, capsys):
    with pytest.raises(SystemExit, match="2"):
        ran.heatmap(*words)
    assert complaint in capsys.readouterr().err
