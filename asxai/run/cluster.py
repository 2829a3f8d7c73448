"""The trainings and slow steps of `make study` as independent jobs, done on a Dask cluster before the notebooks run.

    make study DASK=local            on this machine, a worker for each core
    make study DASK=tcp://host:8786  on a cluster: `dask scheduler` here, `dask worker tcp://host:8786` elsewhere

Workers see the same files as this process: they are started in the same checkout, or with the same `ASXAI_RUNS` and
`ASXAI_DATA`, on a disk that all share; the MALLOC_ variables of the Makefile make them faster. On Slurm,
`dask_jobqueue.SLURMCluster(cores=1, memory="4GB").scale(jobs=20)` starts them, and its `scheduler_address` is what DASK
takes.

A job says what is to be there in the end, and does nothing where it is there already. One whose worker was killed is
given to another, and takes up the training where it stopped. The notebooks then only load, and give the same tables: a
training does not depend on where it ran, only, in the last digits, on its number of threads, which is one.
"""

import os
import time
from contextlib import ExitStack
from typing import NamedTuple

from asxai import paths

from .plan import RunError

DEATHS = 10  # of workers under one job, until it is to blame itself


class Job(NamedTuple):
    """A study to be trained, with its concepts; or an arm of notebook 07, with its measures."""

    data_set: str
    seed: int
    training: dict  # fields of `asxai.Config`
    device: str = "cpu"
    arm: str = ""
    change: dict = {}  # what the arm changes
    options: dict = {}  # of `asxai.benchmarks.ablation.measure_arms`

    def __str__(self):
        what = " ".join(f"{name}={value}" for name, value in self.training.items())
        return " ".join(filter(None, [paths.slug(self.data_set), f"seed {self.seed}", self.arm, what]))

    def config(self):
        from asxai.config import Config

        fields = {name: value for name, value in self.change.items() if name in Config.__dataclass_fields__}
        return Config.of(self.data_set, **self.training | fields | {"seed": self.seed})


def jobs(pairs: list[tuple[str, str]], parameters: dict[str, dict]) -> list[Job]:
    """What notebooks `(name, data set)` train in the long protocol, each study once; by all their parameters."""
    from asxai.benchmarks import ablation, prototypes  # imports torch

    found = {}
    for name, data_set in pairs:
        given = parameters[name]
        # the studies of 10 are small, and of samples that it makes itself
        if not {"seed", "training"} <= set(given) or name.startswith("10"):
            continue
        add = lambda *what, **more: found.setdefault(str(Job(*what)), Job(*what, given.get("device", "cpu"), **more))
        base, changes = given["training"], {"01": [{"objective": "paper"}], "02": prototypes.CONTROLS.values()}
        for change in [{}, *changes.get(name[:2], ())]:
            for seed in [given["seed"], *given.get("other_seeds", ())]:
                add(data_set, seed, base | change)
        for other in filter(None, (given.get("flowers"), given.get("many_classes"))):
            add(other, given["seed"], base)
        if name.startswith("07"):
            options = dict(pictures=given["pictures"], measured=given["pictures"])
            chosen = ablation.named(given["arms"], given["extra_arm"])
            for arms, seeds in ((chosen, given["seeds"]), (ablation.FURTHER, given["further_seeds"])):
                for arm, change in arms.items():
                    for seed in seeds:
                        job = Job(data_set, seed, base, given.get("device", "cpu"), arm, change, options)
                        found[str(job)] = job
    return list(found.values())


def features_first(job: Job, number: int, parts: int):
    """A share of the features of a job's data set, which many studies read: each is made once, by one worker."""
    from asxai.data.datasets import load_data_set
    from asxai.data.features import split_features
    from asxai.model.recipe import build_model, usable_device

    data, config = load_data_set(job.data_set), job.config()
    model = build_model(config, len(data.class_names)).to(usable_device(job.device))
    for turn, (name, split) in enumerate(data.splits.items()):
        # by turns, or the first would make all that is left over
        views = config.views if name == "train" else 1
        split_features(model, split, config.size, views, part=((number + turn) % parts, parts))


def do(job: Job, runs: str, _after):
    """One job, in a worker; what is there already is only loaded."""
    import asxai
    from asxai.benchmarks import ablation

    if str(paths.RUNS) != runs:
        raise RunError(f"a worker keeps its results in {paths.RUNS}, not in {runs}: start it with ASXAI_RUNS={runs}")
    if not job.arm:
        asxai.Study.train(job.data_set, seed=job.seed, device=job.device, **job.training).concepts()
    else:
        arms = ablation.train_arms(job.data_set, {job.arm: job.change}, job.seed, job.device, **job.training)
        ablation.measure_arms(arms, ablation.settings_of(job.training), **job.options)


def _shared(job):
    """What decides on the features of a study's data set."""
    config = job.config()
    names = ("data_set", "size", "backbone", "weights", "last_stage", "trainable", "views")
    return *(getattr(config, name) for name in names), config.weights == "random" and config.seed


def work_through(todo: list[Job], address: str, report):
    """All jobs on the cluster at an address, or on this machine for "local". Raises RunError for one that fails.

    report: takes a line of text after each job: how many are done, and how long the others will take.
    """
    try:
        import dask
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise RunError(f"DASK={address!r} needs Dask: `.venv/bin/pip install 'asxai[cluster]'`") from error
    start = time.monotonic()
    # workers may start processes of their own, which draw or decode pictures
    settings = {"distributed.scheduler.allowed-failures": DEATHS, "distributed.worker.daemon": False}
    with dask.config.set(settings), ExitStack() as stack:
        try:
            if address == "local":
                options = dict(
                    n_workers=os.cpu_count(), threads_per_worker=1, memory_limit=None, dashboard_address=None
                )
                address = stack.enter_context(LocalCluster(**options))
            client = stack.enter_context(Client(address, timeout=30))
        except (OSError, ValueError) as error:
            raise RunError(f"DASK={address!r}: no scheduler answers there. Start one: `dask scheduler`") from error
        first, parts = {}, max(1, len(client.scheduler_info()["workers"]))
        for job in todo:
            if _shared(job) not in first:
                shares = (client.submit(features_first, job, n, parts, pure=False) for n in range(parts))
                first[_shared(job)] = list(shares)
        # arms last: some are studies that stand alone as well, and then only load
        ordered = sorted(todo, key=lambda job: bool(job.arm))
        futures = {client.submit(do, job, str(paths.RUNS), first[_shared(job)], pure=False): job for job in ordered}
        for done, future in enumerate(as_completed(futures), 1):
            if error := future.exception():
                raise RunError(f"{futures[future]}: {type(error).__name__}: {error}")
            left = (time.monotonic() - start) / done * (len(futures) - done) / 60
            report(f"job {done} of {len(futures)}, about {left:.0f} min left: {futures[future]}")
