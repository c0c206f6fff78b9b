import pytest

from orchestrator.plan import make_plan
from orchestrator.schedule import Schedule
from orchestrator.simulation import Conditions, simulate


def schedule_of(experiment, missing=None, slots=1):
    plan = make_plan([experiment])
    seconds = {key: float(stage.images) for key, stage in plan.stages.items()}
    keys = set(plan.stages) if missing is None else missing(plan)
    return plan, Schedule(plan, keys, seconds), seconds


def drain(plan, schedule):
    order = []
    while (key := schedule.next_ready()) is not None:
        order.append(key)
        schedule.finish(key, usable=True)
    return order


def test_every_stage_starts_once_and_never_before_its_parent(experiment):
    plan, schedule, _ = schedule_of(experiment())
    order = drain(plan, schedule)
    assert sorted(order) == sorted(plan.stages)
    place = {key: i for i, key in enumerate(order)}
    for stage in plan.stages.values():
        assert all(place[parent] < place[stage.key] for parent in stage.parents)
    assert schedule.finished


def test_the_longest_chain_starts_first(experiment):
    plan, schedule, _ = schedule_of(experiment())
    first = plan.stages[schedule.next_ready()]
    assert first.spec.subset.n_images == 8144
    assert first.spec.views[0].form == "high"


def test_short_stages_that_nothing_waits_for_share_a_trial_and_fewer_do_towards_the_end(
    experiment, monkeypatch
):
    monkeypatch.setattr("orchestrator.schedule.TRIAL_S", 1e9)
    plan, schedule, _ = schedule_of(experiment())
    trials = []
    while keys := schedule.next_trial(2, schedule.next_ready):
        trials.append(keys)
        for key in keys:
            schedule.finish(key, usable=True)
    assert sorted(key for keys in trials for key in keys) == sorted(plan.stages)
    parents = {key for key in plan.stages if plan.children()[key]}
    assert not any(parents & {*keys[1:]} for keys in trials), "others wait for them"
    sizes = [len(keys) for keys in trials]
    assert max(sizes) > 8
    assert sizes[-4:] == [1, 1, 1, 1]


@pytest.mark.parametrize(("stage_s", "slots", "expected"), [
    (17.0, 2, 1), (17.0, 200, 1), (17.0, 500, 3), (100.0, 500, 1), (0.05, 2, 4), (0.0, 2, 16),
])  # fmt: skip
def test_stages_share_a_trial_only_where_the_driver_could_not_keep_up(
    experiment, stage_s, slots, expected
):
    plan = make_plan([experiment(cells={"high": [0], "low": [1]}, seeds=list(range(9000)))])
    schedule = Schedule(plan, set(plan.stages), dict.fromkeys(plan.stages, stage_s))
    assert len(schedule.next_trial(slots, schedule.next_ready)) == expected


def test_long_stages_do_not_share_a_trial_because_others_are_short(experiment):
    plan = make_plan([experiment(cells={"high": [0], "low": [1]}, seeds=list(range(100)))])
    seconds = dict.fromkeys(plan.stages, 0.01)
    long = set(list(plan.stages)[:10])
    schedule = Schedule(plan, set(plan.stages), seconds | dict.fromkeys(long, 60.0))
    for _ in range(10):
        assert {*schedule.next_trial(2, schedule.next_ready)} < long
    assert len(schedule.next_trial(2, schedule.next_ready)) > 1


def test_children_wait_for_their_parents(experiment):
    plan, schedule, _ = schedule_of(experiment(cells={"high": [8], "low": [1, 2]}))
    parent = schedule.next_ready()
    assert schedule.next_ready() is None
    assert not schedule.exhausted
    schedule.finish(parent, usable=True)
    assert schedule.next_ready() in plan.stages


def test_a_parent_without_weights_blocks_all_that_follow_and_nothing_else(experiment):
    plan, schedule, _ = schedule_of(experiment(cells={"high": [0, 8], "low": [1, 2]}))
    parent = schedule.next_ready()
    blocked = schedule.finish(parent, usable=False)
    assert len(blocked) == 2
    assert schedule.blocked == frozenset(blocked)
    assert len(drain(plan, schedule)) == 2
    assert schedule.exhausted
    assert schedule.finished


def test_a_ready_stage_can_still_be_blocked_by_a_parent_that_diverged_before(experiment):
    def children(plan):
        return {key for key, stage in plan.stages.items() if stage.parents}

    plan, schedule, _ = schedule_of(experiment(cells={"high": [8], "low": [1, 2]}), children)
    (parent,) = {stage.parents[0] for stage in plan.stages.values() if stage.parents}
    assert len(schedule.finish(parent, usable=False)) == 2
    assert schedule.next_ready() is None
    assert schedule.exhausted


def test_only_missing_stages_are_started(experiment):
    def without_parents(plan):
        return {key for key, stage in plan.stages.items() if stage.parents}

    plan, schedule, _ = schedule_of(experiment(), without_parents)
    assert len(drain(plan, schedule)) == 64


def test_a_parent_that_is_trained_again_frees_the_missing_child_and_leaves_the_finished_one(
    experiment,
):
    def all_but_one_child(plan):
        return set(plan.stages) - {plan.cells["staged_hl/h8-l1/s0"][1]}

    cells = {"high": [8], "low": [1, 2]}
    plan, schedule, _ = schedule_of(experiment(cells=cells), all_but_one_child)
    missing = plan.cells["staged_hl/h8-l2/s0"][1]
    assert drain(plan, schedule) == [*plan.stages[missing].parents, missing]
    assert schedule.finished


def test_two_slots_come_near_half_the_time_of_one(experiment):
    _, one, seconds = schedule_of(experiment())
    _, two, _ = schedule_of(experiment())
    total = sum(seconds.values())
    assert simulate(one, seconds, Conditions(1)).seconds == total
    assert simulate(two, seconds, Conditions(2)).seconds < 0.52 * total


def test_a_stage_that_was_put_back_is_the_next_again(experiment):
    _, schedule, _ = schedule_of(experiment())
    taken = schedule.next_ready()
    schedule.put_back(taken)
    assert not schedule.exhausted
    assert schedule.next_ready() == taken
