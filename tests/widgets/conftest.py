"""What all tests of widgets share, beside the study of `tests/conftest.py`."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest

from asxai.explain.explainer import Explainer


@pytest.fixture(scope="session")
def explainer(study, concepts):
    return Explainer(study, concepts)


@pytest.fixture(scope="session")
def scored():
    """PCS of 60 pictures, two classes and three concepts, predicted and true classes."""
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 2, 60)
    scores = rng.random((60, 2, 3)) * 0.6
    scores[np.arange(60), predicted] *= 1.6
    scores[:, 1, 2] = np.nan
    return scores, predicted, np.where(rng.random(60) < 0.9, predicted, 1 - predicted)


@pytest.fixture(scope="session")
def controls():
    """All controls of a kind in a box, by their description, as a function."""

    def inside(widget, kind=widgets.Widget):
        named = isinstance(widget, kind) and hasattr(widget, "description")
        below = {k: v for child in getattr(widget, "children", ()) for k, v in inside(child, kind).items()}
        return ({widget.description: widget} if named else {}) | below

    return inside


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")
