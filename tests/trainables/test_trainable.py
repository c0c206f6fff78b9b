"""What a trial does to its process."""

import os

import pytest

from trainables.trainable import NICENESS, StageTrainable


@pytest.mark.parametrize(("given", "added"), [(0, NICENESS), (NICENESS, 0), (15, 0)])
def test_a_trial_gives_way_to_the_driver_and_never_takes_priority_back(monkeypatch, given, added):
    """Raising priority is refused to all but root: a run under `nice -n 15` would have failed."""
    asked = []
    monkeypatch.setattr(os, "nice", lambda by: asked.append(by) or given)
    trainable = StageTrainable.__new__(StageTrainable)
    monkeypatch.setattr(StageTrainable, "reset_config", lambda self, config: True)
    trainable.setup({})
    assert asked == [0, added]
