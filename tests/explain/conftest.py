"""One tiny study for all tests of explanations, with concepts made by hand."""

import pytest
import torch
from helpers import QUICK, concepts_by_hand, drawn_study

from asxai.explain.explainer import Explainer


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Two classes of drawn animals, 10 pictures each to train and validate on and 5 to test, on a grid of 6 x 6."""
    return drawn_study(tmp_path_factory.mktemp("animals"), 10, 5, **QUICK)


@pytest.fixture(scope="session")
def concepts(study):
    return concepts_by_hand(study)


@pytest.fixture(scope="session")
def explainer(study, concepts):
    return Explainer(study, concepts)


@pytest.fixture(scope="session")
def explanations(study, explainer):
    """Of the ten test pictures and of one that shows nothing, made in one call."""
    noise = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return explainer.explain([*study.data.test.paths, noise])
