"""Two processes of one distributed run, on this machine."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing as mp
from torch import Tensor

Work = Callable[[], dict[str, Tensor]]


def on_two_ranks(folder: Path, work: Work) -> list[dict[str, Tensor]]:
    """What `work`, which trains with two devices, returns in each process.

    Args:
        folder: To hand the tensors over in.
        work: Anything callable: the processes are forked.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_rank, (folder, work, port), nprocs=2, start_method="fork")
    return [torch.load(_file(folder, rank)) for rank in range(2)]


def _rank(rank: int, folder: Path, work: Work, port: int) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), NODE_RANK="0")
    torch.set_num_threads(1)
    torch.save(work(), _file(folder, rank))


def _file(folder: Path, rank: int) -> Path:
    return folder / f"rank{rank}.pt"
