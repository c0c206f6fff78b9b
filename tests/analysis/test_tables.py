import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from analysis.tables import STYLE, summary_markdown, write_tables

HOSTILE = "<script>alert(1)</script>|*x*\n# h `c` $a_b$"


class Tags(HTMLParser):
    """Collects tags, and the text of cells and headings by row."""

    def __init__(self):
        super().__init__()
        self.tags = []
        self.rows = []
        self.styles = {}

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        opened = self.tags[-1] if self.tags else ""
        if opened in {"td", "th"}:
            self.rows[-1][-1] += data


def parsed(path):
    page = Tags()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def markdown_rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_four_files_for_every_table(grid, strategies, recipe, tmp_path):
    written = write_tables(pd.concat([grid, strategies]), recipe, tmp_path / "tables")
    names = [f"table{n}.{ending}" for n in (1, 2) for ending in ("csv", "html", "md", "tex")]
    assert [path.name for path in written] == names
    assert all(path.stat().st_size for path in written)


def test_csv_is_long_and_machine_readable(grid, recipe, tmp_path):
    write_tables(grid, recipe, tmp_path)
    table = pd.read_csv(tmp_path / "table2.csv")
    assert table.columns.tolist() == [
        *("row", "column", "ours_percent", "interval_low_percent", "interval_high_percent"),
        *("paper_percent", "ours_minus_paper", "n_seeds", "above_chance", "status"),
    ]
    assert len(table) == 80
    cell = table[(table["row"] == "H2") & (table["column"] == "L2")].iloc[0]
    assert (cell["ours_percent"], cell["paper_percent"]) == (30.0, 24.3)
    assert cell["ours_minus_paper"] == pytest.approx(5.7)
    assert cell["interval_low_percent"] < 30.0 < cell["interval_high_percent"]
    assert table["status"].value_counts().to_dict() == {"done": 79, "not planned": 1}


def test_html_of_table2_is_the_papers_grid(grid, recipe, tmp_path):
    write_tables(grid, recipe, tmp_path)
    rows = parsed(tmp_path / "table2.html").rows
    assert [len(row) for row in rows] == [9] * 11
    assert rows[0][3] == "L3 (150)"
    assert rows[3][:3] == ["H2 (100)", "24.0 (17.2)", "30.0 (24.3)†"]
    assert rows[10][:3] == ["Mixed", "\N{EN DASH}", "30.0 (23.4)*"]


def test_html_colours_carry_their_own_ink_for_light_and_dark(grid, recipe, tmp_path):
    write_tables(grid, recipe, tmp_path)
    text = (tmp_path / "table2.html").read_text(encoding="utf-8")
    assert "color-scheme: light dark" in text
    assert STYLE in text
    blocks = re.findall(r"#T_table2_row\d+_col\d+[^{]*{([^}]*)}", text)
    assert blocks
    assert all(re.search(r"background-color: #\w+;\s+color: #\w+", block) for block in blocks)


def test_html_bolds_the_best_only(make_cell, recipe, tmp_path):
    cells = [
        make_cell("table1", "high", (8, 0), high=0.8, low=0.1),
        make_cell("table1", "low", (0, 8), high=0.2, low=0.5),
    ]
    write_tables(pd.DataFrame(cells), recipe, tmp_path)
    text = (tmp_path / "table1.html").read_text(encoding="utf-8")
    bold = re.findall(r"#T_table1_(\w+) {[^}]*font-weight: bold", text)
    assert bold == ["row0_col0", "row1_col1"]


def test_hostile_names_stay_text_in_html(make_cell, tmp_path):
    cells = [make_cell("table1", HOSTILE, (8, 8), dataset=HOSTILE, model=HOSTILE)]
    recipe = {"name": HOSTILE, "train": {"epochs": HOSTILE}, "model": {"name": HOSTILE}}
    write_tables(pd.DataFrame(cells), recipe, tmp_path)
    page = parsed(tmp_path / "table1.html")
    assert "script" not in page.tags
    text = (tmp_path / "table1.html").read_text(encoding="utf-8")
    assert text.count("&lt;script&gt;") >= 5


def test_hostile_names_neither_mark_up_nor_break_markdown(make_cell, tmp_path):
    cells = [make_cell("table1", HOSTILE, (8, 8), dataset=HOSTILE)]
    text = summary_markdown(pd.DataFrame(cells), {"name": HOSTILE})
    assert "<" not in text
    assert not any(line.startswith("#") for line in text.splitlines())
    assert {len(row) for row in markdown_rows(text)} == {3}
    assert r"\*x\*" in text
    assert r"\`c\`" in text


def test_markdown_is_a_table_of_github(grid, recipe):
    spaced = summary_markdown(grid, recipe)
    rows = markdown_rows(spaced.replace(" &nbsp;", ""))
    assert [len(row) for row in rows] == [9] * 12
    assert set(rows[1]) == {" :-- ", " --: "}
    assert [cell.strip() for cell in rows[4][:3]] == ["H2 (100)", "24.0 (17.2)", "**30.0 (24.3)†**"]
    assert rows[11][2].strip() == r"**30.0 (23.4)\***"


def test_columns_of_mlflows_description_do_not_touch(grid, recipe):
    head, rule, first = summary_markdown(grid, recipe).split("\n\n")[1].splitlines()[:3]
    assert head.count("&nbsp; |") == first.count("&nbsp; |") == 8
    assert "nbsp" not in rule


def test_tables_1_and_3_have_the_papers_rows_and_ours_after(strategies, recipe, tmp_path):
    write_tables(strategies, recipe, tmp_path)
    rows = markdown_rows((tmp_path / "table1.md").read_text(encoding="utf-8"))
    assert [row[0].strip() for row in rows[2:]] == [
        "AlexNet (High)",
        "AlexNet (Low)",
        "Mixed-Training (High+Low)",
        "BB-3D-G (High), quoted, not run",
        "Super-Res NBSRF (Low)",
        "Staged-Training (L-H)",
        "Staged-Training (H-L)",
        "LR-CNN (Low), in the text",
        r"my\_own",
    ]
    assert [cell.strip() for cell in rows[0]] == ["", "High-res test", "Low-res test"]


def test_every_table_says_what_it_is_and_what_differs(grid, recipe):
    text = summary_markdown(grid, recipe)
    assert "(demo). synthetic, tiny, low-res 16 px on a 48 px canvas, 1 seed." in text
    assert "the paper's, of AlexNet on all of Stanford Cars, one run" in text
    assert "- Differs from the paper: data set synthetic (paper: Stanford Cars);" in text
    assert "- 95 % intervals: ±4.5 points at most" in text


def test_daggers_and_stars_are_of_the_same_photos_only_where_the_recipe_has_them_so(grid, recipe):
    apart = recipe | {"subset": {"relation": "independent"}}
    texts = [summary_markdown(grid, of) for of in (recipe, apart)]
    assert ["saw the same photos" in text for text in texts] == [True, False]
    assert "saw as many, but other photos" in texts[1]


def test_a_mean_over_seeds_is_not_told_to_hold_for_other_test_photos(strategies, recipe):
    assert "over seeds, without the chance of the test photos" in summary_markdown(
        strategies, recipe
    )


def test_incomplete_cells_are_listed_once(make_cell, recipe):
    cells = [
        make_cell("table1", "high", (8, 0), 0),
        make_cell("table1", "high", (8, 0), 1, status="diverged"),
        make_cell("table2", "staged_hl", (1, 2), status="failed"),
    ]
    text = summary_markdown(pd.DataFrame(cells), recipe)
    assert "- Incomplete: AlexNet (High): diverged, 1 of 2 done." in text
    assert "- Incomplete: H1 L2: failed, 0 of 1 done." in text


def test_many_incomplete_cells_are_cut_short(grid, recipe):
    frame = grid.assign(status="missing", accuracy_low=float("nan"), accuracy_high=float("nan"))
    assert "; and 71 more." in summary_markdown(frame, recipe)


def test_a_custom_table_is_written_without_the_paper(make_cell, recipe, tmp_path):
    cells = [make_cell("custom", "mine", (k, k)) for k in (4, 8)]
    names = [path.name for path in write_tables(pd.DataFrame(cells), recipe, tmp_path)]
    assert names == ["custom.csv", "custom.html", "custom.md", "custom.tex"]
    text = (tmp_path / "custom.md").read_text(encoding="utf-8")
    assert "paper" not in text
    assert [row[0].strip() for row in markdown_rows(text)[2:]] == ["mine h4-l4", "mine"]


def test_the_summary_fits_a_run_description(grid, strategies, recipe):
    assert len(summary_markdown(pd.concat([grid, strategies]), recipe)) < 8000


def test_latex_needs_no_package_and_takes_any_name(grid, recipe, tmp_path):
    hostile = recipe | {"name": r"50% & $x_1$ #{a}~^\input{b}"}
    write_tables(grid, hostile, tmp_path)
    written = (tmp_path / "table2.tex").read_text()
    assert r"50\% \& \$x\_1\$ \#\{a\}" in written
    assert r"\input" not in written
    assert r"\textbackslash{}input\{b\}" in written
    body = written.partition(r"\begin{tabular}{lrrrrrrrr}")[2].partition(r"\end{tabular}")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert [line.count("&") for line in rows] == [8] * 11
    assert r"{}H2 (100) & 24.0 (17.2) & \textbf{30.0 (24.3)$^\dagger$}" in rows[3]
    assert all(ord(char) < 256 for char in written)
    assert written.count("{") - written.count(r"\{") == written.count("}") - written.count(r"\}")


def test_what_is_not_above_chance_is_marked_and_said(make_cell, recipe, tmp_path):
    cells = [make_cell("table1", "high", (8, 0), low=0.06, high=0.9)]
    cells += [make_cell("table1", "low", (0, 8), low=0.5, high=0.3)]
    write_tables(pd.DataFrame(cells), recipe, tmp_path)
    text = (tmp_path / "table1.md").read_text()
    assert "6.0\N{DEGREE SIGN} " in text
    assert text.count("\N{DEGREE SIGN}") == 2
    assert "not above chance (exact binomial test" in text
    table = pd.read_csv(tmp_path / "table1.csv").set_index(["row", "column"])
    assert not table.loc[("AlexNet (High)", "Low-res"), "above_chance"]


def test_tables_1_and_3_say_ours_minus_the_papers(strategies, recipe, tmp_path):
    write_tables(strategies, recipe, tmp_path)
    text = (tmp_path / "table1.md").read_text()
    assert "(50.4; +8.6)" in text
    assert "; ours minus it)" in text
