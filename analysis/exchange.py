"""`exchange.csv`, `.md`, `.html`: what a high-res photo is worth in low-res ones, from Table 2."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.grid import MIXED_ROW, Grid, Numbers, paper_percent
from analysis.pages import Page, write_page
from analysis.scaling import FORMS, REACH, Cells, Law, fit, held_out_points, redrawn
from analysis.setting import PAPER_IMAGES, setting_of

TARGET = 0.5
N_REFITS = 100
#: Of two laws that predict held-out cells this nearly as well (points), the simpler one counts.
AS_GOOD_POINTS = 0.05
#: Where the law misses a cell by more than this many times its error on held-out cells, it says
#: nothing of the place beside it.
MISSED = 2.0
#: Fewer rows or columns cannot tell the laws apart.
LEAST_LEVELS = 4


@dataclass(frozen=True)
class Exchange:
    """Fitted laws of a grid.

    Attributes:
        cells: that they were fitted to.
        laws: by form.
        held_out: points of error on held-out cells, by form.
        chosen: the form that answers.
        refits: the chosen law fitted to draws of the test photos.
    """

    cells: Cells
    laws: dict[str, Law]
    held_out: dict[str, float]
    chosen: str
    refits: list[Law]

    @property
    def law(self) -> Law:
        """The chosen law."""
        return self.laws[self.chosen]

    def refusal(self, n_high: float, n_low: float) -> str:
        """Why the law says nothing of a rate there: a cell beside it is missed; else empty."""
        cells = self.cells
        rows, column = np.unique(cells.n_high), _nearest(np.unique(cells.n_low), n_low)
        beside = np.abs(np.arange(len(rows)) - np.argmin(np.abs(rows - n_high))) <= 1
        chosen_C = np.isin(cells.n_high, rows[beside]) & (cells.n_low == column)
        missed_C = 100 * (self.law.accuracy(cells.n_high, column) - (1 - cells.error))
        worst = float(np.abs(missed_C[chosen_C]).max(initial=0.0))
        if worst <= MISSED * self.held_out[self.chosen]:
            return ""
        return (
            f"{n_high:,.0f} high-res and {n_low:,.0f} low-res photos: the law misses a cell beside "
            f"them by {worst:.1f} points"
        )


#: A law of a table, asked something: a number, or why it is not told.
Question = Callable[[Exchange, Law], float | str]


def exchange_of(grid: Grid) -> Exchange | None:
    """Fit all laws to a grid's Staged (H-L) cells that are above chance.

    Returns:
        None where fewer than `LEAST_LEVELS` rows or columns are there.
    """
    chosen_RL = ~np.isnan(grid.mean_percent) & grid.above_chance
    chosen_RL[MIXED_ROW] = False
    if min(chosen_RL.any(axis=1).sum(), chosen_RL.any(axis=0).sum()) < LEAST_LEVELS:
        return None
    cells = _cells(grid.mean_percent, grid.n_high_R, grid.n_low_L, chosen_RL)
    laws = {form: fit(form, cells) for form in FORMS}
    held_out = {form: held_out_points(cells, law) for form, law in laws.items()}
    best = min(held_out.values())
    chosen = next(form for form, points in held_out.items() if points <= best + AS_GOOD_POINTS)
    drawn_BC = 1 - grid.draws[:N_REFITS, chosen_RL] / 100
    return Exchange(cells, laws, held_out, chosen, redrawn(cells, laws[chosen], drawn_BC))


def papers_exchange(form: str) -> Exchange:
    """The same law fitted to the paper's Table 2; without refits, for its photos are not known."""
    levels = np.arange(9) * 1000
    levels[-1] = PAPER_IMAGES["cars"]
    percent = paper_percent()
    chosen_RL = np.ones(percent.shape, np.bool_)
    chosen_RL[MIXED_ROW] = False
    cells = _cells(percent, np.r_[levels, -1], levels[1:], chosen_RL)
    law = fit(form, cells)
    return Exchange(cells, {form: law}, {form: held_out_points(cells, law)}, form, [])


def answers(found: Exchange, theirs: Exchange) -> pd.DataFrame:
    """What the chosen law says of ours and of the paper's Table 2.

    Args:
        found: of `exchange_of`.
        theirs: of `papers_exchange`.

    Returns:
        One row per question: `question`, `ours` (a number, NaN where it is not told), `from`, `to`
        (95 % interval over the drawn test photos; infinite: beyond what is told), `paper`, and
        `told` (why there is no number of ours).
    """
    return pd.DataFrame(
        _answer(question, ask, found, theirs) for question, ask in _questions().items()
    )


def _questions() -> dict[str, Question]:
    def worth(high: float, low: float) -> Question:
        def ask(found: Exchange, law: Law) -> float | str:
            place = (high * law.high_unit, low * law.low_unit)
            return found.refusal(*place) or law.worth(*place)

        return ask

    places = {"none": 0.0, "half": 0.5, "all": 1.0}
    rates = {
        f"low-res photos that one more high-res photo is worth, at {high} of the high-res and "
        f"{low} of the low-res photos": worth(places[high], places[low])
        for high, low in (("none", "all"), ("half", "half"), ("half", "all"), ("all", "all"))
    }
    goal = f"for {TARGET:.0%}"
    return rates | {
        f"low-res photos {goal}, without high-res": lambda _, law: law.low_needed(TARGET, 0),
        f"low-res photos {goal}, with all high-res": lambda _, law: law.low_needed(
            TARGET, law.high_unit
        ),
        f"photos of each kind {goal}": lambda _, law: law.both_needed(TARGET),
    }


def _answer(question: str, ask: Question, found: Exchange, theirs: Exchange) -> dict[str, Any]:
    ours, paper = ask(found, found.law), ask(theirs, theirs.law)
    told = isinstance(ours, str)
    drawn = [ask(found, refit) for refit in found.refits]
    draws = np.array([math.inf if isinstance(a, str) else a for a in drawn])
    # Not linear: an end of the interval is a refit's own, never between a number and infinity.
    ends = np.quantile(draws, [0.025, 0.975], method="nearest")
    return {
        "question": question,
        "ours": math.nan if told else ours,
        "from": math.nan if told else ends[0],
        "to": math.nan if told else ends[1],
        "paper": math.nan if isinstance(paper, str) else paper,
        "told": ours if told else "",
    }


def write_exchange(
    frame: pd.DataFrame, found: Exchange, recipe: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Write `exchange.csv`, `exchange.md` and `exchange.html`.

    Args:
        frame: of `runs.load`.
        found: of `exchange_of`.
        recipe: of the run's `recipe.yaml`.
        folder: made where it is not there.

    Returns:
        The files written.
    """
    theirs = papers_exchange(found.chosen)
    numbers = answers(found, theirs)
    setting = setting_of(frame.loc[frame["table"] == "table2"], recipe)
    title = f"What a high-res photo is worth in low-res photos: {setting.title}"
    page = Page(title, [_texts(numbers), _laws(found)], _notes(found, numbers))
    return write_page(folder, "exchange", page, numbers)


def _nearest(values: NDArray[np.float64], to: float) -> float:
    return float(values[np.argmin(np.abs(values - to))])


def _cells(
    percent_RL: Numbers,
    n_high_R: NDArray[np.int64],
    n_low_L: NDArray[np.int64],
    chosen_RL: NDArray[np.bool_],
) -> Cells:
    rows, columns = np.nonzero(chosen_RL)
    sizes = (n_high_R[rows].astype(np.float64), n_low_L[columns].astype(np.float64))
    return Cells(*sizes, 1 - percent_RL[chosen_RL] / 100)


def _texts(numbers: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "question": row["question"],
            "ours [95 %]": "not told"
            if row["told"]
            else f"{_size(row['ours'])} [{_size(row['from'])}, {_size(row['to'])}]",
            "paper": _size(row["paper"]),
        }
        for row in numbers.to_dict("records")
    ]
    return pd.DataFrame(rows).set_index("question")


def _size(number: float) -> str:
    if not math.isfinite(number):
        return "not told"
    return f"{number:.2f}" if number < 20 else f"{number:,.0f}"


def _laws(found: Exchange) -> pd.DataFrame:
    rows = []
    for form, law in found.laws.items():
        log_delta, log_x0, alpha, beta, gamma, floor = law.parameters_P
        rows.append(
            {
                "law": f"{form}{' (used)' * (form == found.chosen)}",
                "error on held-out cells, points": f"{found.held_out[form]:.2f}",
                "delta": f"{math.exp(log_delta):.3f}",
                "alpha (high-res)": f"{alpha:.2f}",
                "beta (low-res)": f"{beta:.2f}",
                "gamma (gap)": f"{gamma:.2f}",
                "floor": f"{floor:.2f}",
                "first weights, high-res photos": _first_weights(law.high_unit, log_x0),
            }
        )
    return pd.DataFrame(rows).set_index("law")


def _first_weights(high_unit: float, log_x0: float) -> str:
    x0 = math.exp(log_x0)
    beyond = "more than " * (x0 > REACH)
    return f"{beyond}{min(x0, REACH) * high_unit:,.0f}"


def _notes(found: Exchange, numbers: pd.DataFrame) -> list[str]:
    law = found.law
    return [
        "error = delta (gamma + ((x + x0) / (1 + x0))^-alpha) y^-beta + floor, with x of "
        f"{law.high_unit:,.0f} high-res and y of {law.low_unit:,.0f} low-res photos as shares; "
        "power: gamma and floor 0; gap: floor 0 (Mikami et al., arXiv 2108.11018). x0: what the "
        "first weights are worth, so that H0 is on the curve.",
        f"Fitted by least squares to {len(found.cells.error)} cells of Staged-Training (H-L) that "
        f"are above chance. Held-out cells decide; of laws within {AS_GOOD_POINTS} points the "
        "simplest is used.",
        f"Intervals: {len(found.refits)} refits to drawn test photos; neither the chance in "
        "training nor what the law itself misses is in them. The paper's numbers: the same law "
        "fitted to its Table 2.",
        f"Not told: more than {REACH:g} times outside the measured sizes, or beside a cell that "
        f"the law misses by more than {MISSED:g} times its error on held-out cells.",
        *(told for told in numbers["told"] if told),
    ]
