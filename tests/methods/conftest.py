"""A tiny study of drawn animals for all tests of methods, and a registry that is afterwards as it was before."""

import pytest
from helpers import QUICK, drawn_study

from asxai.methods import METHODS


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Two classes, 10 pictures each to train and validate on and 5 to test, on a grid of 6 x 6; concepts are there."""
    study = drawn_study(tmp_path_factory.mktemp("animals"), 10, 5, **QUICK)
    study.concepts()
    return study


@pytest.fixture
def registry():
    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)
