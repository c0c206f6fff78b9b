"""Simulated runs add up: driver, start-up and failures cost what they say, and nothing is lost."""

import pytest

from orchestrator.plan import make_plan
from orchestrator.schedule import Schedule, critical_tails
from orchestrator.simulation import Conditions, lower_bound_s, simulate


def table(experiment, second_per_image=0.001):
    plan = make_plan([experiment()])
    seconds = {key: stage.images * second_per_image for key, stage in plan.stages.items()}
    return plan, seconds


def run(plan, seconds, conditions):
    return simulate(Schedule(plan, set(plan.stages), seconds), seconds, conditions)


def test_one_slot_takes_the_sum_and_many_the_longest_chain(experiment):
    plan, seconds = table(experiment)
    longest = max(critical_tails(plan, plan.children(), seconds).values())
    assert run(plan, seconds, Conditions(1)).seconds == pytest.approx(sum(seconds.values()))
    assert run(plan, seconds, Conditions(1000)).seconds == pytest.approx(longest)


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8, 13])
def test_no_run_beats_the_bound_and_table_2_comes_close_to_it(experiment, slots):
    plan, seconds = table(experiment)
    longest = max(critical_tails(plan, plan.children(), seconds).values())
    bound = lower_bound_s(sum(seconds.values()), longest, slots)
    found = run(plan, seconds, Conditions(slots)).seconds
    assert bound * (1 - 1e-9) <= found < 1.05 * bound


def test_the_driver_is_paid_once_for_each_stage(experiment):
    plan, seconds = table(experiment)
    slow = run(plan, seconds, Conditions(1, trial_s=9.0, stage_s=1.0))
    assert slow.driver_busy_s == pytest.approx(10.0 * len(seconds))
    assert slow.seconds == pytest.approx(sum(seconds.values()) + 10.0 * len(seconds))


def test_stages_that_share_trials_pay_for_fewer_of_them_and_each_for_itself(experiment):
    plan, seconds = table(experiment)
    short = {key: 1e-5 * s for key, s in seconds.items()}
    shared = run(plan, short, Conditions(1, trial_s=9.0, stage_s=1.0))
    n_trials = (shared.driver_busy_s - len(seconds)) / 9.0
    assert len(seconds) / 16 < n_trials < len(seconds) / 2
    expected_s = sum(short.values()) + len(seconds) + 9.0 * n_trials
    assert shared.seconds == pytest.approx(expected_s)


def test_sharing_trials_makes_a_run_hardly_longer_where_the_driver_costs_nothing(
    experiment, monkeypatch
):
    plan, seconds = table(experiment)
    for slots in (2, 5, 13):
        alone = run(plan, seconds, Conditions(slots)).seconds
        monkeypatch.setattr("orchestrator.schedule.TRIAL_S", 1e9)
        assert run(plan, seconds, Conditions(slots)).seconds < 1.06 * alone
        monkeypatch.undo()


def test_a_driver_that_is_slower_than_its_slots_decides_the_makespan(experiment):
    plan, _ = table(experiment)
    seconds = dict.fromkeys(plan.stages, 0.001)
    found = run(plan, seconds, Conditions(1000, trial_s=1.0))
    assert len(seconds) <= found.seconds < 1.05 * len(seconds)


def test_start_up_comes_once_before_the_first_stage(experiment):
    plan, seconds = table(experiment)
    plain = run(plan, seconds, Conditions(4)).seconds
    assert run(plan, seconds, Conditions(4, startup_s=60)).seconds == pytest.approx(plain + 60)


def test_failures_cost_at_most_an_epoch_and_a_start_up_each(experiment, monkeypatch):
    plan, seconds = table(experiment)
    total, longest = sum(seconds.values()), max(seconds.values())
    given = Conditions(1, startup_s=5.0, between_failures_s=total / 20, epochs=10, seed=3)
    found = run(plan, seconds, given)
    assert found.failures > 5
    monkeypatch.setattr("orchestrator.schedule.TRIAL_S", 1e9)
    shared = run(plan, seconds, given)
    monkeypatch.undo()
    assert shared.failures > 5
    assert shared.seconds - total - 5.0 <= shared.failures * (longest / 10 + 5.0) + 1e-6
    lost = found.seconds - total - 5.0
    assert 0 < lost <= found.failures * (longest / 10 + 5.0) + 1e-6
    assert run(plan, seconds, given) == found, "the same seed gives the same run"
