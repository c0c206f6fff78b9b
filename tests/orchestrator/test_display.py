"""What a run tells: the time left, by its plan and then by itself, and its table."""

import io

import pytest
from rich.console import Console

from orchestrator.display import Display
from orchestrator.plan import make_plan
from trainables.budget import budget_of

EXPECTED_S = 1000.0


class Run:
    """A run of stages one after another, told by its events, on a clock of its own."""

    def __init__(self, plan):
        self.now_s, self.plan = 50.0, plan
        console = Console(quiet=True)
        self.display = Display(plan, frozenset(plan.stages), console, lambda: self.now_s)
        self.display.expected_s = EXPECTED_S
        self.passed, self.total = 0.0, plan.images

    def train(self, key, image_s, startup_s=0.0):
        stage = self.plan.stages[key]
        self.display.notify({"event": "stage_start", "key": key, "name": stage.name})
        self.now_s += startup_s
        epochs, _ = budget_of(stage.spec)
        for epoch in range(1, epochs + 1):
            self.now_s += image_s * stage.images / epochs
            record = {"epoch": epoch, "loss": 1.0, "accuracy": 0.5, "seconds": 1.0}
            event = {"event": "epoch", "key": key, "record": record | {"images_seen": 1}}
            self.display.notify(event)
        self.display.notify({"event": "stage_end", "key": key, "status": "done"})
        self.passed += stage.images


@pytest.fixture
def run(experiment):
    return Run(make_plan([experiment(cells={"strategies": ["high", "staged_hl"], "low": [8, 4]})]))


def test_before_anything_is_measured_the_plan_s_time_is_told(run):
    assert run.display.eta_s() == pytest.approx(EXPECTED_S)


def test_starting_up_is_not_extrapolated_over_the_whole_run(run):
    image_s = EXPECTED_S / run.total
    run.train(next(iter(run.plan.stages)), image_s, startup_s=EXPECTED_S)
    left_s = EXPECTED_S * (1 - run.passed / run.total)
    assert run.display.eta_s() == pytest.approx(left_s)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_plan_that_is_wrong_counts_less_and_less(run, factor):
    image_s, errors = factor * EXPECTED_S / run.total, []
    for key in list(run.plan.stages)[:-1]:
        run.train(key, image_s)
        truth_s = image_s * (run.total - run.passed)
        errors.append(abs(run.display.eta_s() / truth_s - 1))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.25


def test_nothing_is_told_where_nobody_has_said_what_to_expect(run):
    run.display.expected_s = None
    assert "unknown time left" in run.display.line()


def test_the_live_table_is_uncut_in_80_columns(run):
    keys = list(run.plan.stages)
    run.train(keys[0], 0.1)
    tested = {"accuracy_high": 1.0, "accuracy_low": 0.1234}
    run.display.notify({"event": "stage_end", "key": keys[0], "status": "diverged", **tested})
    for key in keys[1:3]:
        name = f"cars-squeezenet1_1-{run.plan.stages[key].name}"
        run.display.notify({"event": "stage_start", "key": key, "name": name})
    console = Console(file=io.StringIO(), width=80)
    console.print(run.display._table())
    text = console.file.getvalue()
    assert "…" not in text
    assert "100.0 %" in text
    assert all(heading in text for heading in ("train acc.", "images/s", "high", "low"))
