"""Several processes that train one study together; alone, every function here is the identity.

`torchrun --nproc-per-node=4 script.py` starts the processes and tells each its number; `join`, which `Study.train`
calls, makes them know each other. Until it returns, each works on its share of the pictures, results are put together
in the order that one process would have, and the first process writes. All see the same files: on several machines
`ASXAI_RUNS` and `ASXAI_DATA` lie on a disk that they share.
"""

import os
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(hours=2)  # that processes wait for one another: one may draw or fetch the data set


def join(device: "torch.device") -> "torch.device":
    """Meet the other processes that torchrun started, if it did; the device of this one."""
    import torch
    import torch.distributed as dist

    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or not dist.is_available():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return device


def size() -> int:
    """How many processes there are."""
    return _dist().get_world_size() if _dist() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return _dist().get_rank() if _dist() else 0


def _dist():
    if not _together:
        return None
    import torch.distributed as dist

    return dist if dist.is_available() and dist.is_initialized() else None


def share(items: list) -> list:
    """What this process does of a list that all have."""
    return items[rank() :: size()]


def dealt(own: list) -> list:
    """What all processes made of their `share`, in the order of the whole list. Tensors lie on the CPU."""
    if size() == 1:
        return own
    pieces = [None] * size()
    _dist().all_gather_object(pieces, own)
    total = sum(map(len, pieces))
    return [pieces[i % size()][i // size()] for i in range(total)]


def from_first(value):
    """The value that the first process has."""
    if size() == 1:
        return value
    held = [value]
    _dist().broadcast_object_list(held)
    return held[0]


def wait():
    """Until all processes are here."""
    if size() > 1:
        _dist().barrier()


def in_turn(work):
    """`work()` in the first process, then in the others."""
    if rank():
        wait()
        return work()
    try:
        return work()
    finally:
        wait()


def joined_rows(rows: "torch.Tensor", count: int) -> "torch.Tensor":
    """Rows of all processes one after another, the first `count` of them; gradients find their way back.

    Each process goes on to compute the same loss of them all, so that what comes back is summed over processes: with
    the mean that DistributedDataParallel takes, parameters get the gradient that one process would give them.
    """
    return rows if size() == 1 else _gathering().apply(rows)[:count]


@cache
def _gathering():
    import torch

    class Gathering(torch.autograd.Function):
        @staticmethod
        def forward(context, rows):
            pieces = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(size())]
            _dist().all_gather(pieces, rows.contiguous())
            context.rows = len(rows)
            return torch.cat(pieces)

        @staticmethod
        def backward(context, gradient):
            gradient = gradient.contiguous()
            _dist().all_reduce(gradient)
            return gradient[rank() * context.rows :][: context.rows]

    return Gathering


_together = False


@contextmanager
def together():
    """Within it the processes work together, all of them; outside each is alone, so that one may do what others do not.

    The error of a process whose neighbour has ended becomes a sentence.
    """
    global _together
    before, _together = _together, True
    try:
        yield
    except RuntimeError as error:
        if size() > 1 and any(sign in str(error) for sign in ("Connection", "gloo", "NCCL", "peer", "Socket")):
            raise RuntimeError(
                f"process {rank()} of {size()}: another process of this training has ended ({str(error)[:80]}...). Its "
                "own message stands above. The same command started again takes up the training where it stopped"
            ) from error
        raise
    finally:
        _together = before
