"""The short form of the fault campaign (`make faults`)."""

import os
import subprocess
import sys
from pathlib import Path


def test_short_campaign():
    program = Path(__file__).parent / "faults.py"
    done = subprocess.run([sys.executable, str(program), "--short"], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
