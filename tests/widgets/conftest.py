"""One tiny study of two classes without part masks for all tests of widgets, and the basis of one of its traits."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import picture_folder

import asxai
from asxai.concepts.concepts import Concepts
from asxai.explain.explainer import Explainer
from asxai.traits.basis import trait_basis

QUICK = dict(size=96, basis_per_class=4, channels=16, cycles=1, joint_epochs=1, views=1, batch_size=8)


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    return asxai.Study.train(picture_folder(folder / "shapes", size=96), folder=folder / "study", **QUICK)


@pytest.fixture(scope="session")
def concepts(study):
    """Made by hand: both classes share concept 1, the second class lacks concept 2."""
    return Concepts(np.array([[1, 2, 0, 1], [3, 0, 1, 3]]), ("concept 1", "concept 2", "concept 3"), study.class_names)


@pytest.fixture(scope="session")
def fast():
    """Parameters of a basis that is made quickly."""
    return dict(components=2, pictures=6, side=64, steps=12)


@pytest.fixture(scope="session")
def basis(study, concepts, fast):
    return trait_basis(study, concepts, study.class_names[0], "concept 1", **fast)


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
        below = {k: v for child in getattr(widget, "children", ()) for k, v in inside(child, kind).items()}
        return (
            {widget.description: widget} if isinstance(widget, kind) and hasattr(widget, "description") else {}
        ) | below

    return inside


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")
