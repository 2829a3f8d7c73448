"""One tiny study for the tests of benchmarks; modules that need another one make it themselves."""

import pytest
from helpers import QUICK, drawn_study


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Two classes of drawn animals, 11 pictures each to train on, 3 to validate, 6 to test, on a grid of 6 x 6."""
    return drawn_study(tmp_path_factory.mktemp("animals"), 14, 6, **QUICK)
