"""Two processes that torchrun starts train what one does; one that is killed ends both, and the next start goes on."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from helpers import picture_folder, tiny_backbone

import asxai
from asxai import parallel
from asxai.cache import load_tensors
from asxai.model import recipe

NETWORK = dict(weights="random", size=64, basis_per_class=2, scene_vectors=1, channels=8)
HEAD = NETWORK | dict(warm_up_epochs=1, joint_epochs=2, cycles=1, batch_size=5, views=2)
WHOLE = HEAD | dict(trainable="all", objective="paper", joint_epochs=1)


@pytest.fixture(autouse=True)
def smooth(monkeypatch):
    """Where a ReLU is dead the sign of a gradient is chance, and Adam makes whole steps of it."""
    monkeypatch.setattr(recipe, "load_backbone", lambda *_: tiny_backbone())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("pictures") / "shapes")


def torchrun(home, pictures, runs, before="", processes=2):
    """`Study.train` in each process, for each (name of the folder, parameters) of `runs`; the finished command."""
    script = home / "run.py"
    script.write_text(f"""
import os, signal
import asxai
from asxai.model import recipe, training
from helpers import tiny_backbone
recipe.load_backbone = lambda *_: tiny_backbone()
{before}
for name, parameters in {runs!r}:
    study = asxai.Study.train({str(pictures)!r}, folder={str(home)!r} + "/" + name, **parameters)
    with open(f"{home}/{{name}}-{{os.environ['RANK']}}.txt", "w") as file:
        print(study.metrics, study.prototypes.to_csv(), file=file)
    if os.environ["RANK"] == "0":  # what one does alone waits for nobody
        study.predict_split(study.data.test), study.concepts()
""")
    environment = os.environ | {"ASXAI_RUNS": str(home / "runs"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def assert_near(a, b, tolerance, what):
    difference = (a - b).nan_to_num().abs().max()
    assert difference <= tolerance, f"{what} differs by {difference}"


KILLED = """
epoch = training.Trainer._epoch
def dies(self, generator):
    if os.environ["RANK"] == "1" and len(self.log) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return epoch(self, generator)
training.Trainer._epoch = dies
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def killed(home, pictures):
    """A start in which a process is killed while it trains: the command, and how many steps were kept."""
    command = torchrun(home, pictures, [("killed", HEAD)], KILLED)
    return command, len(json.loads(load_tensors(home / "killed" / "checkpoint.safetensors")[1])["log"])


@pytest.fixture(scope="module")
def again(home, pictures, killed):
    """The next start, which goes on and then trains two more studies, for each start imports torch three times."""
    return torchrun(home, pictures, [("killed", HEAD), ("head", HEAD), ("whole", WHOLE)])


@pytest.fixture(scope="module")
def alone(pictures, tmp_path_factory):
    """What one process trains: a run in which features are fixed, and one in which everything is trained."""
    runs, folder = {"head": HEAD, "whole": WHOLE}, tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "load_backbone", lambda *_: tiny_backbone())
        return {name: asxai.Study.train(pictures, folder=folder / name, **run) for name, run in runs.items()}


@pytest.mark.parametrize("name", ["head", "whole"])
def test_two_processes_give_the_weights_prototypes_and_accuracy_of_one(home, again, alone, name):
    """Batches of 5 are no multiple of 2."""
    assert again.returncode == 0, again.stderr
    one, two = alone[name], asxai.Study.load(home / name)
    for key, value in one.model.state_dict().items():
        if key != "last_layer.weight":  # its optimum is flat: L-BFGS stops where the loss no longer falls
            assert_near(two.model.state_dict()[key], value, 1e-5, f"{name}: {key}")
    place = ["class", "basis", "picture", "row", "column"]
    assert one.prototypes[place].equals(two.prototypes[place])
    assert one.metrics["test_accuracy"] == two.metrics["test_accuracy"]
    for column in ("total", "validation_loss"):  # after the last layer as well
        assert_near(torch.tensor(two.log[column]), torch.tensor(one.log[column]), 1e-4, f"{name}: {column}")
    first, second = (home / f"{name}-{rank}.txt" for rank in (0, 1))
    assert first.read_text() == second.read_text(), "each process has the study"


def test_a_killed_process_ends_all_and_the_next_start_goes_on(home, killed, again, alone):
    command, steps = killed
    assert command.returncode != 0 and "Signal 9 (SIGKILL)" in command.stderr
    assert steps == 2, "what was done before is kept"
    assert again.returncode == 0, again.stderr
    two = asxai.Study.load(home / "killed")
    for key in ("basis_vectors", "add_on.0.weight"):
        assert_near(two.model.state_dict()[key], alone["head"].model.state_dict()[key], 1e-5, key)
    assert signal.SIGKILL == 9 and not (home / "killed" / "checkpoint.safetensors").exists()


def test_an_error_of_a_lost_neighbour_is_a_sentence(monkeypatch):
    monkeypatch.setattr(parallel, "size", lambda: 2)
    monkeypatch.setattr(parallel, "rank", lambda: 0)
    with pytest.raises(RuntimeError, match="another process of this training has ended .*takes up the training"):
        with parallel.together():
            raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]")
    with pytest.raises(RuntimeError, match="^our own$"), parallel.together():
        raise RuntimeError("our own")


def test_alone_nothing_changes():
    x = torch.arange(6.0).view(3, 2)
    assert parallel.size() == 1 and parallel.rank() == 0 and parallel.share([1, 2]) == [1, 2] == parallel.dealt([1, 2])
    assert parallel.joined_rows(x, 3) is x and parallel.from_first(x) is x and parallel.in_turn(lambda: 5) == 5


def test_work_that_is_dealt_out_comes_back_in_order(monkeypatch):
    """Three processes, seven things: each sees what `all_gather_object` would give it."""
    items = list(range(7))
    monkeypatch.setattr(parallel, "size", lambda: 3)
    shares = []
    for number in range(3):
        monkeypatch.setattr(parallel, "rank", lambda: number)
        shares.append(parallel.share(items))

    class Gathered:
        def all_gather_object(self, pieces, own):
            pieces[:] = shares

    monkeypatch.setattr(parallel, "_dist", Gathered)
    assert shares == [[0, 3, 6], [1, 4], [2, 5]] and parallel.dealt(shares[0]) == items
