import multiprocessing
import threading

import numpy as np
import pytest

from trainables.threads import in_parts


@pytest.fixture(autouse=True)
def always_threaded(monkeypatch):
    monkeypatch.setattr("trainables.threads.THREADED_BYTES", 0)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 3, 1000])
def test_every_row_is_worked_on_once(n, n_threads, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: n_threads)
    numbers, made = np.arange(2 * n).reshape(n, 2), np.zeros((n, 2), np.int64)

    def add(part, out):
        out += part + 1

    in_parts(add, numbers, made)
    assert np.array_equal(made, numbers + 1)


class Meeting:
    """Each of two threads waits for the other before its first part."""

    def __init__(self):
        self._both, self._mine = threading.Barrier(2, timeout=60), threading.local()

    def __call__(self, _part):
        if not hasattr(self._mine, "place"):
            self._mine.place = self._both.wait()


def test_work_is_side_by_side(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    in_parts(Meeting(), np.zeros(8))


def test_a_fault_of_another_thread_is_raised(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    here, meet = threading.current_thread(), Meeting()

    def fail_elsewhere(part):
        meet(part)
        if threading.current_thread() is not here:
            raise FloatingPointError("elsewhere")

    with pytest.raises(FloatingPointError, match="elsewhere"):
        in_parts(fail_elsewhere, np.zeros(8))


def test_nobody_works_on_after_a_fault_of_the_caller(monkeypatch):
    """As at Ctrl-C: the arrays may be freed or read once the call has ended."""
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    here, meet, raised = threading.current_thread(), Meeting(), threading.Event()
    begun, ended = [], []

    def fail_here(part):
        meet(part)
        if threading.current_thread() is here:
            raised.set()
            raise KeyboardInterrupt
        begun.append(part)
        assert raised.wait(60)
        np.random.default_rng(0).normal(size=1_000_000)
        ended.append(part)

    with pytest.raises(KeyboardInterrupt):
        in_parts(fail_here, np.zeros(8))
    assert len(begun) == len(ended)


def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    meet_in_parts()
    forked = multiprocessing.get_context("fork").Process(target=meet_in_parts)
    forked.start()
    forked.join(60)
    alive = forked.is_alive()
    forked.kill()
    assert not alive
    assert forked.exitcode == 0


def meet_in_parts():
    in_parts(Meeting(), np.zeros(8))
