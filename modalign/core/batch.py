"""The records that every part speaks: `Comparison`, `Example`, `PreferenceBatch`, `Likelihood`.

A comparison holds candidates, and each candidate is a *cell*: a response together with the context in which it is
judged. Pairs, thumbs and ranked lists are the same record:

| feedback          | candidates                                             |
|-------------------|--------------------------------------------------------|
| pair              | roles `chosen`, `rejected`                             |
| thumbs up or down | one `candidate`, its score 1.0 or 0.0                  |
| ranked list       | K `candidate`s with scores (larger is better)          |
| demonstration     | one `chosen`                                           |

In a batch, cell (b, k) is row b's candidate in column k; a column has one role, and `mask` says which cells exist. A
tensor "of cells" is `(N,)`: the existing cells in row-major order, the order in which modalities work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

CHOSEN = "chosen"
REJECTED = "rejected"
CANDIDATE = "candidate"
EVALUATION = -1
"""The epoch of batches that are only looked at: a modality shows them as they are, without random crops or the like."""

MISMATCHED = "mismatched"
"""Another row's response under this row's prompt: KTO's estimate of its reference point."""

OTHER_CHOSEN = "other_chosen"
"""The response that is right for the other image or sound, under this row's own."""

OTHER_IMAGE = "other_image"
OTHER_AUDIO = "other_audio"
OTHER_PROMPT = "other_prompt"


def under(role: str, context: str) -> str:
    """The role of a cell with the response of another cell in a context of its own: `chosen@other_image`."""
    return f"{role}@{context}"


@dataclass(frozen=True)
class Candidate:
    """A response and the role it plays.

    Attributes:
        response: What was generated, in the modality's own terms (a string, a list of chat messages, an image...).
        role: What objectives know the cell by.
        score: A rating (larger is better) or a label (1.0 good, 0.0 bad), where there is one.
        context: The context this response is judged in, where it is not the comparison's prompt.
    """

    response: Any
    role: str = CANDIDATE
    score: float | None = None
    context: Any = None


@dataclass(frozen=True)
class Comparison:
    """One preference, whatever its shape.

    Attributes:
        prompt: The context all candidates share, in the modality's own terms; None where a modality needs none.
        candidates: At least one.
        weight: How much this comparison counts in the loss, relative to the others.
        source: The file or dataset it came from.
        row: The row in `source`, counted from 0.
        extra: What a modality wants beside it: a chat template's `tools`, or what cells in another context are made of
            (`other_prompt`, `other_images`, `other_audios`, `other_response`).
    """

    prompt: Any
    candidates: tuple[Candidate, ...]
    weight: float = 1.0
    source: str = ""
    row: int = -1
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(candidate.role for candidate in self.candidates)

    def candidate(self, role: str) -> Candidate:
        """The first candidate with this role."""
        return next(candidate for candidate in self.candidates if candidate.role == role)


@dataclass(frozen=True)
class Example:
    """A comparison as its modality encoded it.

    Attributes:
        comparison: Where it came from.
        cells: One encoding a candidate; what it is only the modality knows.
        sizes: How many units each cell's likelihood sums over (completion tokens; 1 where there is no such unit).
        truncated: Whether anything was cut to fit.
    """

    comparison: Comparison
    cells: tuple[Any, ...]
    sizes: tuple[int, ...]
    truncated: bool = False

    def only(self, roles: frozenset[str]) -> "Example":
        """The same with the candidates of these roles alone; whole where it has none of them."""
        kept = [i for i, role in enumerate(self.comparison.roles) if role in roles]
        if not kept or len(kept) == len(self.cells):
            return self
        return replace(
            self,
            comparison=replace(self.comparison, candidates=tuple(self.comparison.candidates[i] for i in kept)),
            cells=tuple(self.cells[i] for i in kept),
            sizes=tuple(self.sizes[i] for i in kept),
        )


@dataclass
class Window:
    """This rank's totals over the micro-batches of one optimiser step.

    A loss divided by a window's total is exact however the window was split into micro-batches.

    Attributes:
        weight: Sum of the comparisons' weights.
        sizes: For each role, the sum of weight times size.
    """

    weight: float
    sizes: dict[str, float]

    @classmethod
    def of(cls, batches: Sequence["PreferenceBatch"]) -> "Window":
        sizes: dict[str, float] = {}
        for batch in batches:
            for column, role in enumerate(batch.roles):
                total = (batch.weight * batch.sizes[:, column]).sum().item()
                sizes[role] = sizes.get(role, 0.0) + total
        return cls(weight=sum(batch.weight.sum().item() for batch in batches), sizes=sizes)


@dataclass
class PreferenceBatch:
    """B comparisons of up to K candidates each.

    Attributes:
        inputs: The modality's own tensors, for the N existing cells in row-major order; in dicts, lists and tuples of
            any depth.
        roles: K names; a name may stand more than once (a ranked list).
        scores: `(B, K)` float; NaN where a candidate has no score.
        sizes: `(B, K)` float, units per cell as known before the model runs; 0 where there is no cell.
        mask: `(B, K)` bool, which cells exist.
        weight: `(B,)` float; 0 marks a row that only fills a rank's batch.
        index: `(B,)` int, the rows' numbers in the data set.
        truncated: `(B,)` bool, whether anything was cut to fit.
        epoch: The pass over the data this batch belongs to, or `EVALUATION`; with `index` it keys a row's randomness.
        fingerprints: B hashes of the encoded rows; empty unless a cached reference asked for them.
        window: Totals of the optimiser step this batch is part of; None where the batch is a step of its own.
    """

    inputs: dict[str, Any]
    roles: tuple[str, ...]
    scores: Tensor
    sizes: Tensor
    mask: Tensor
    weight: Tensor
    index: Tensor
    truncated: Tensor
    epoch: int = 0
    fingerprints: tuple[str, ...] = ()
    window: Window | None = None

    def __len__(self) -> int:
        return int(self.weight.shape[0])

    def column(self, role: str) -> int:
        """The first column with this role.

        Raises:
            KeyError: No column has it.
        """
        if role not in self.roles:
            raise KeyError(f"no column has the role {role!r}; this batch has {', '.join(self.roles)}")
        return self.roles.index(role)

    def scatter(self, cells: Tensor) -> Tensor:
        """Lay the `(N, ...)` values of the existing cells out as `(B, K, ...)`, zero where there is no cell."""
        grid = cells.new_zeros(*self.mask.shape, *cells.shape[1:])
        rows, columns = self.mask.nonzero(as_tuple=True)
        return grid.index_put((rows, columns), cells)

    def cells_of(self, roles: frozenset[str]) -> Tensor:
        """`(N,)` bool: which of the existing cells have one of these roles."""
        columns = torch.tensor([role in roles for role in self.roles], device=self.mask.device)
        return columns.expand_as(self.mask)[self.mask]

    def to(self, *args: Any, **kwargs: Any) -> "PreferenceBatch":
        """Move every tensor, as `Tensor.to` does; Lightning calls this."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def pin_memory(self) -> "PreferenceBatch":
        """Pin every tensor; torch's DataLoader calls this."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Any) -> "PreferenceBatch":
        moved = {f.name: change(v) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, inputs=_changed(self.inputs, change), **moved)


@dataclass
class Likelihood:
    """How likely a model finds each cell.

    Attributes:
        logps: `(B, K)` float32: log-probabilities summed over a cell's units, or the surrogate that stands for them; 0
            where there is no cell.
        sizes: `(B, K)` float: how many units each sum covers.
        token_logps: `(B, K, T)`, where the objective's needs asked for them.
        token_mask: `(B, K, T)` bool, which of `token_logps` count.
        extra: Whatever else an objective's needs named, by that name.
    """

    logps: Tensor
    sizes: Tensor
    token_logps: Tensor | None = None
    token_mask: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    @property
    def mean_logps(self) -> Tensor:
        """`(B, K)`: log-probability per unit; 0 where there is no cell."""
        return self.logps / self.sizes.clamp(min=1)

    def detach(self) -> "Likelihood":
        return Likelihood(
            self.logps.detach(),
            self.sizes,
            None if self.token_logps is None else self.token_logps.detach(),
            self.token_mask,
            {name: value.detach() for name, value in self.extra.items()},
        )


def _changed(value: Any, change: Any) -> Any:
    """The same containers with every tensor in them changed."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) is dict:
        return {key: _changed(item, change) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_changed(item, change) for item in value)
    return value
