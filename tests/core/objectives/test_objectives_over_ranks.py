"""Two ranks with unequal shares of a batch make what one rank makes of the whole."""

from dataclasses import replace
from pathlib import Path

import torch

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.objectives.pointwise import Bco, Kto
from tests.core.objectives.batches import assert_close, random_pairs

SHARES = [[0, 1, 2, 3], [4]]


def share(rows: list[int]) -> tuple[Likelihood, Likelihood, PreferenceBatch]:
    """Some rows of a batch of five, one of them without weight, whose reference point is above 0."""
    policy, reference, batch = random_pairs(5, seed=5)
    batch.weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0])
    names = ("scores", "sizes", "mask", "weight", "index")
    part = replace(batch, **{name: getattr(batch, name)[rows] for name in names})
    pick = lambda one: Likelihood(one.logps.detach()[rows], one.sizes[rows])  # noqa: E731
    return pick(reference), pick(policy), part


def evaluate(rows: list[int]) -> dict[str, torch.Tensor]:
    kto = Kto()(*share(rows))
    bco = Bco()(*share(rows))
    return {
        "kto": kto.terms[0].values,
        "kl": kto.metrics["kl"].values,
        "bco": bco.terms[0].values,
        "delta": bco.metrics["delta"].values,
    }


def work(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(evaluate(SHARES[rank]), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_are_one(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(work, (str(tmp_path),), nprocs=2, start_method="fork")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    whole = evaluate([0, 1, 2, 3, 4])
    assert whole["kl"][0] > 0
    assert not torch.allclose(evaluate(SHARES[1])["delta"], whole["delta"][4:])
    for name, values in whole.items():
        assert_close(torch.cat([rank[name] for rank in ranks]), values, 1e-6)
