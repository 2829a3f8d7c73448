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
os.environ.update(
    ASXAI_RUNS=str(SCRATCH / "runs"),
    ASXAI_FIGURES=str(SCRATCH / "figures"),
    ASXAI_PROGRESS=os.devnull,
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
)


def pytest_sessionfinish():
    shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def few_calibration_pictures():
    """A tiny study has no need of hundreds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asxai.explain.disturbed.CALIBRATION", 30)
        patch.setattr("asxai.explain.disturbed.COPIES", 4)
        yield
