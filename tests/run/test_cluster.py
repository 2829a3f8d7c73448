"""`make study DASK=...`: what the notebooks train as jobs, done once each, whatever happens to workers."""

import os
import signal
import threading
import time
from collections import Counter

import pytest
import torch
from helpers import picture_folder

import asxai
from asxai import paths
from asxai.benchmarks import ablation
from asxai.run import cluster, make, plan
from asxai.run.cluster import Job, jobs, work_through
from asxai.run.parameters import read_parameters

QUICK = dict(backbone="resnet18", weights="random", size=64, basis_per_class=2, scene_vectors=1, channels=8)
QUICK |= dict(joint_epochs=6, cycles=2, batch_size=4)


def test_jobs_are_the_trainings_of_the_notebooks_each_once():
    given = {path.stem: read_parameters(path) for path in plan.find_notebooks([], plan.Places())}
    pairs = [(name, data_set) for name in given for data_set in plan.STUDY_DATA_SETS.get(name, plan.MENAGERIE[:1])]
    found = jobs(pairs, given)
    assert len(found) == len({str(job) for job in found})
    plain = [(job.data_set, job.seed) for job in found if not job.training]
    assert {(name, seed) for name in plan.MENAGERIE for seed in (0, 1, 2)} <= set(plain)
    arms = Counter(job.arm for job in found if job.data_set == plan.MENAGERIE[0] and job.arm)
    assert arms["both losses"] == 5 and arms["M = 50"] == 3
    assert set(arms) == {*given["07_ablation"]["arms"], *ablation.FURTHER}
    control = [job for job in found if job.training == {"weights": "random"}]
    assert len(control) == 9, "three data sets, three seeds"
    one = jobs([("01_train", "x")], {"01_train": given["01_train"] | {"other_seeds": [], "training": {"size": 96}}})
    assert [job.training for job in one] == [{"size": 96}, {"size": 96, "objective": "paper"}]


def test_make_study_hands_over_what_is_not_up_to_date(places, at_once, monkeypatch):
    handed = []
    monkeypatch.setattr(cluster, "jobs", lambda waiting, given: handed.append((waiting, given)) or [])
    monkeypatch.setattr(cluster, "work_through", lambda todo, address, report: report(f"{todo} at {address}"))
    monkeypatch.setenv("ASXAI_DASK", "tcp://there:1")
    assert make.make_figures("figures", places=places) == 0 and not handed
    assert make.make_figures("study", places=places) == 0
    (waiting, given), pets = handed[0], plan.MENAGERIE[0]
    assert waiting == [("01_first", pets), ("02_second", pets)] and given["01_first"]["protocol"] == "long"
    told = (places.runs / "notebooks" / "log.txt").read_text()
    assert "[] at tcp://there:1" in told and "1 of 2, about 0 min left" in told
    make.make_figures("study", places=places)
    assert handed[1][0] == []


def test_no_scheduler_is_said_in_a_sentence():
    with pytest.raises(plan.RunError, match="DASK='nowhere://a': no scheduler answers there. Start one"):
        work_through([], "nowhere://a", print)


def test_a_killed_worker_changes_nothing_and_nothing_is_done_twice(tmp_path, monkeypatch):
    """Two workers, three seeds and an arm; a worker is killed while it trains, and what it began is taken up again."""
    from distributed import LocalCluster

    pictures = picture_folder(tmp_path / "pictures")
    todo = [Job(str(pictures), seed, QUICK) for seed in range(3)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(paths.ROOT), str(paths.ROOT / "data")]))
    studies, lines = paths.RUNS / "studies", []
    before = set(studies.glob("*"))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers:

        def kill():
            while not set(studies.glob("*/checkpoint.safetensors")):
                time.sleep(0.01)
            os.kill(workers.workers[0].pid, signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        work_through(todo, workers.scheduler_address, lines.append)
        killer.join(timeout=5)
        assert not killer.is_alive() and [line[:10] for line in lines] == [f"job {n} of 3" for n in (1, 2, 3)]
        stamps = {path: path.stat().st_mtime_ns for path in studies.glob("*/study.json")}
        work_through(todo, workers.scheduler_address, lines.append)
        assert {path: path.stat().st_mtime_ns for path in studies.glob("*/study.json")} == stamps
        with pytest.raises(plan.RunError, match="seed 0.*: DataError: .*neither a known data set nor a folder"):
            work_through([Job(str(tmp_path / "nothing"), 0, QUICK)], workers.scheduler_address, print)
    assert len(set(studies.glob("*")) - before) == 3
    here = asxai.Study.train(pictures, folder=tmp_path / "here", seed=1, **QUICK)
    there = asxai.Study.train(pictures, seed=1, **QUICK)
    for name, value in here.model.state_dict().items():
        assert torch.equal(there.model.state_dict()[name], value), name
    assert here.metrics == there.metrics and (there.folder / "concepts.json").exists()
