"""Nodes that cannot run stages are told apart, before anything starts."""

from types import SimpleNamespace

import pytest

from orchestrator.preflight import PACKAGES, Answer, _ask, judge
from orchestrator.searcher import EventCallback, TransitionScheduler, fault_in, lost_its_node
from orchestrator.trials import Trials
from trainables.errors import BusyError, ConfigError, TakenBackError


def node(host, *, sees_root=True, **versions):
    known = dict.fromkeys(PACKAGES, "1.0") | {"python": "3.11.7"}
    return Answer(host, sees_root, known | versions)


def test_equal_nodes_pass():
    judge([node("head"), node("one")], "/shared/runs")


def test_nodes_without_the_shared_folder_are_named():
    with pytest.raises(ConfigError, match=r"one, two: --root /tmp/runs .* share .*bucket"):
        judge(
            [node("head"), node("one", sees_root=False), node("two", sees_root=False)], "/tmp/runs"
        )


def test_a_node_without_a_package_is_named_with_the_script_that_installs_it():
    with pytest.raises(ConfigError, match=r"missing on two \(torch\).*set_up_node.sh"):
        judge([node("head"), node("two", torch=None)], "/shared/runs")


@pytest.mark.parametrize("package", ["ray", "python"])
def test_versions_that_differ_are_shown_side_by_side(package):
    with pytest.raises(ConfigError, match=rf"{package} differs .*head .*, one 9.9.9"):
        judge([node("head"), node("one", **{package: "9.9.9"})], "/shared/runs")


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_node_that_goes_before_it_answers_is_told_in_one_sentence():
    with pytest.raises(BusyError, match="has gone before it answered; run the same command again"):
        _ask(["ab" * 28], None)


def test_only_the_last_failure_decides_whether_a_node_was_lost(tmp_path):
    file = tmp_path / "error.txt"
    died = "The actor died because its node has died. Node Id: ab12"
    file.write_text(f"Failure # 1 (occurred at 1)\n{died}\nFailure # 2 (at 2)\nValueError: x\n")
    assert not lost_its_node(str(file))
    with file.open("a") as more:
        more.write(f"Failure # 2 (occurred at 3)\n{died}\n")
    assert lost_its_node(str(file))
    assert not lost_its_node(None)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (
            "The actor died because its node has died. Node Id: a\n\tits node was preempted",
            2,
        ),
        ("Worker exit detail: ... The process receives a SIGTERM.", 2),
        (f"ray::StageTrainable.train_buffered()\nTakenBackError: {TakenBackError()}", 2),
        ("The actor is dead because its worker process has died.", 3),
    ],
)
def test_a_stage_whose_node_is_taken_back_uses_up_none_of_its_retries(tmp_path, said, counted):
    file = tmp_path / "error.txt"
    file.write_text(f"Failure # 3 (occurred at 1)\n{said}\n")
    data = SimpleNamespace(num_failures=3, invalidate_cache=lambda: None)
    trial = SimpleNamespace(error_file=str(file), run_metadata=data)
    EventCallback(Trials(launch=None, slots=1, folder=tmp_path)).on_trial_recover(1, [], trial)
    assert data.num_failures == counted


TRACEBACK = """4 (occurred at 2026-01-01)
ray::StageTrainable.save() (pid=1)
  File "trainable.py", line 1, in save
    raise error
"""


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (f"{TRACEBACK}OSError: [Errno 5] Input/output error\n", "OSError: [Errno 5] Input"),
        (f"{TRACEBACK}trainables.errors.LostDeviceError: CUDA\nmore\n", "LostDeviceError: CUDA"),
        ("Task was killed due to the node running low on memory.\n", "its node ran low on memory"),
    ],
)
def test_a_stage_that_is_given_up_says_in_one_line_why(failure, said):
    fault = fault_in(failure)
    assert said in fault
    assert "\n" not in fault


def test_a_process_that_left_no_word_has_no_fault_of_its_own():
    assert fault_in("4 (occurred at x)\nThe actor died.\n\tpid: 965\n\tip: 192.0.2.2\n") is None
    assert fault_in("") is None


def test_k08_a_stage_that_tune_drops_with_tries_left_is_noted():
    told = []
    scheduler = TransitionScheduler(SimpleNamespace(dropped=told.append))
    for name, status, tries_left in (
        ("dropped", "PENDING", True),
        ("tried again", "ERROR", True),
        ("given up", "RUNNING", False),
    ):
        trial = SimpleNamespace(
            trial_id=name,
            status=status,
            should_recover=lambda left=tries_left: left,
            error_file=None,
        )
        scheduler.on_trial_error(None, trial)
    assert told == ["dropped"]
