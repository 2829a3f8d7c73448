"""All figures of these tests have the study's style, and none is left open."""

import numpy as np
import pytest
from helpers import styled_figures  # noqa: F401


@pytest.fixture
def crossing():
    """Whether two lines, of two ends each, meet: the ends of each lie on both sides of the other."""
    side = lambda a, b, c: np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    return lambda one, other: all(side(*a, b[0]) != side(*a, b[1]) for a, b in ((one, other), (other, one)))
