"""What parsers import at their first use is not counted as theirs; where examples may write."""

import pytest
from hypothesis import strategies as st

from tests.fuzz.bounds import GUARD


@pytest.fixture(autouse=True, scope="session")
def imported() -> None:
    """Import it before."""
    import pandas  # noqa: F401
    import scipy.io
    import torch

    assert scipy.io
    assert torch
    st.text().validate()  # makes Hypothesis's tables of characters, the first time in a checkout


@pytest.fixture(autouse=True, scope="session")
def guarded(tmp_path_factory) -> None:
    """Everything else on the disk is out of bounds."""
    GUARD.place = tmp_path_factory.getbasetemp()
