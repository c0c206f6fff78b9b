"""What parsers import at their first use is not counted as their memory."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def imported() -> None:
    """Import it before."""
    import pandas  # noqa: F401
    import scipy.io
    import torch

    assert scipy.io
    assert torch
