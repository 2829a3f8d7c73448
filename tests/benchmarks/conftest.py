"""A tiny study of drawn animals, for modules that have none of their own."""

import pytest
from helpers import QUICK, drawn_study


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    study = drawn_study(tmp_path_factory.mktemp("arena"), 10, 5, **QUICK)
    study.concepts()
    return study
