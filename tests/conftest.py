"""What holds for every test: folders of its own, one thread, no window.

The variables are set before any test imports `asxai.paths` or torch. Results of the tests go to a folder that is
removed at the end, so that no test touches trained studies or committed figures. (The committed notebooks are checked
by a second call of pytest, see `make test`, because they shall find the trained studies in runs/.)
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

SCRATCH = Path(tempfile.mkdtemp(prefix="asxai-tests-"))
os.environ |= {"ASXAI_RUNS": str(SCRATCH / "runs"), "ASXAI_FIGURES": str(SCRATCH / "figures"), "MPLBACKEND": "Agg"}
os.environ |= {"ASXAI_PROGRESS": os.devnull} | {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}


def pytest_sessionfinish():
    shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def few_calibration_pictures():
    """A tiny study has no need of hundreds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asxai.explain.disturbed.CALIBRATION", 30)
        patch.setattr("asxai.explain.disturbed.COPIES", 4)
        yield


# For rooms that have no study of their own: two classes of ten pictures without part masks, and the basis of a trait.


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    from helpers import QUICK, picture_folder

    import asxai

    folder, quick = tmp_path_factory.mktemp("shapes"), QUICK | {"basis_per_class": 4, "joint_epochs": 1}
    return asxai.Study.train(picture_folder(folder / "shapes", size=96), folder=folder / "study", **quick)


@pytest.fixture(scope="session")
def concepts(study):
    """Made by hand: both classes share concept 1, the second class lacks concept 2."""
    import numpy as np

    from asxai.concepts.concepts import Concepts

    return Concepts(np.array([[1, 2, 0, 1], [3, 0, 1, 3]]), ("concept 1", "concept 2", "concept 3"), study.class_names)


@pytest.fixture(scope="session")
def fast():
    """Parameters of a basis that is made quickly."""
    return dict(components=2, pictures=6, side=64, steps=12)


@pytest.fixture(scope="session")
def basis(study, concepts, fast):
    from asxai.traits.basis import trait_basis

    return trait_basis(study, concepts, study.class_names[0], "concept 1", **fast)
