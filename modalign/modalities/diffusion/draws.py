"""What a likelihood draws, each a pure function of (seed, epoch, row, draw) and never of the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modalign.core.batch import CANDIDATE, PreferenceBatch
from modalign.core.errors import ConfigError, did_you_mean
from modalign.core.keys import generator, run_seed


@dataclass(frozen=True)
class Timesteps:
    """Where between clean data and noise a likelihood looks.

    Args:
        distribution: `uniform` over all time steps, `logit_normal` (the sigmoid of a normal; SD3, FLUX), or `fixed`:
            one of `values` (a turbo model's few).
        mean: Of the normal.
        std: Of the normal.
        values: The time steps of `fixed`, counted as in the model's training.
        low: The cleanest share of the way to noise that `uniform` draws, from 0.
        high: The noisiest, to 1.
    """

    distribution: Literal["uniform", "logit_normal", "fixed"] = "uniform"
    mean: float = 0.0
    std: float = 1.0
    values: list[int] | None = None
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        names = ("uniform", "logit_normal", "fixed")
        if self.distribution not in names:
            raise ConfigError(
                f"timesteps.distribution is {self.distribution!r}.", did_you_mean(self.distribution, names)
            )
        if (self.distribution == "fixed") != bool(self.values):
            raise ConfigError("timesteps.values and distribution: fixed go together.", "Give both or neither.")

    def position(self, draw: torch.Generator, timesteps: int) -> float:
        """One position in [0, 1) for a model of so many time steps."""
        if self.distribution == "fixed":
            assert self.values
            chosen = self.values[int(torch.randint(len(self.values), (), generator=draw))]
            return (chosen + 0.5) / timesteps
        if self.distribution == "logit_normal":
            return float(torch.sigmoid(self.mean + self.std * torch.randn((), generator=draw, dtype=torch.float64)))
        u = float(torch.rand((), generator=draw, dtype=torch.float64))
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class RowDraws:
    """The keys of a batch's randomness.

    Args:
        rows: The rows' numbers.
        epoch: The pass over the data.
        cells: For each existing cell of the batch, row-major: its row's place in `rows`, and the name under which it
            draws noise; cells of one row that share a name share their noise.
    """

    rows: Sequence[int]
    epoch: int
    cells: Sequence[tuple[int, str]]

    @classmethod
    def of(cls, batch: PreferenceBatch, cycle: int | None = None) -> "RowDraws":
        """Members of a pair share their noise; candidates of a list have their own (RankDPO, arXiv 2410.18013)."""
        epoch = batch.epoch % cycle if cycle else batch.epoch
        cells = []
        for place, there in enumerate(batch.mask.tolist()):
            for column in (column for column, exists in enumerate(there) if exists):
                own = batch.roles[column] == CANDIDATE
                number = batch.roles[:column].count(CANDIDATE)
                cells.append((place, f"candidate {number}" if own else "pair"))
        return cls(batch.index.tolist(), epoch, cells)

    def positions(self, timesteps: Timesteps, count: int, draw: int) -> Tensor:
        """`(N,)`: each cell's position, one for all cells of a row."""
        of_row = [timesteps.position(self._generator(row, draw, "timestep"), count) for row in self.rows]
        return torch.tensor([of_row[place] for place, _ in self.cells], dtype=torch.float64)

    def noise(self, shape: Sequence[int], draw: int, purpose: str = "noise") -> Tensor:
        """`(N, *shape)` standard normal float32 on the CPU, so that every device sees the same."""
        drawn: dict[tuple[int, str], Tensor] = {}
        for place, name in self.cells:
            if (place, name) not in drawn:
                source = self._generator(self.rows[place], draw, f"{purpose} {name}")
                drawn[place, name] = torch.randn(*shape, generator=source)
        return torch.stack([drawn[cell] for cell in self.cells])

    def _generator(self, row: int, draw: int, purpose: str) -> torch.Generator:
        return generator(run_seed(), self.epoch, row, draw, purpose)
