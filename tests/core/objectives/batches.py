"""Batches for tests of objectives: what a modality would hand over, without a modality."""

from dataclasses import replace

import torch
from torch import Tensor

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.objectives.base import Feedback, Objective, ObjectiveOutput
from modalign.core.objectives.dense import DenseDpo
from modalign.core.objectives.distracted import Povid
from modalign.core.objectives.guided import VDpo
from modalign.core.objectives.length import LcDpo
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.mapo import MaPo
from modalign.core.objectives.pairwise import Dpo, Hinge, Ipo, RobustDpo
from modalign.core.objectives.pointwise import Bco, Kto
from modalign.core.objectives.reference_free import Cpo, Orpo, SimPo
from modalign.core.objectives.scaled import MmDpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.symmetric import SymMpo
from modalign.core.objectives.visual import MDpo, RdpoVisual
from modalign.core.objectives.weighted_sum import WeightedSum

PAIR = ("chosen", "rejected")
TRIPLE = ("chosen", "rejected", "mismatched")
LN2 = 0.6931471805599453

# Three pairs: summed log-probabilities of responses of 3, 2, 3 and 2, 4, 2 tokens.
POLICY = [[-2.0, -1.5], [-2.1, -3.4], [-1.5, -4.0]]
REFERENCE = [[-2.6, -1.4], [-1.8, -3.2], [-2.3, -2.4]]
SIZES = [[3.0, 2.0], [2.0, 4.0], [3.0, 2.0]]

# Four labelled responses, each with a mismatched one beside it.
LABELLED_POLICY = [[-2.0, -5.0], [-2.1, -4.1], [-1.5, -6.2], [-3.4, -3.0]]
LABELLED_REFERENCE = [[-2.6, -5.2], [-1.8, -4.0], [-1.4, -6.5], [-3.2, -3.1]]
LABELS = [1.0, 1.0, 0.0, 0.0]


def all_objectives() -> dict[str, Objective]:
    """Every built-in objective by its registered name, its options such that no loss of text-like numbers saturates."""
    parts: dict[str, Objective] = {"dpo": Dpo(), "sft": Sft()}
    return {
        "sft": Sft(),
        "dpo": Dpo(),
        "robust_dpo": RobustDpo(),
        "ipo": Ipo(),
        "hinge": Hinge(),
        "simpo": SimPo(),
        "orpo": Orpo(),
        "cpo": Cpo(),
        "mapo": MaPo(margin_scale=10.0),
        "kto": Kto(),
        "bco": Bco(),
        "rankdpo": RankDpo(),
        "lc_dpo": LcDpo(),
        "mm_dpo": MmDpo(),
        "dense_dpo": DenseDpo(),
        "rdpo_visual": RdpoVisual(),
        "mdpo": MDpo(),
        "symmpo": SymMpo(),
        "vdpo": VDpo(),
        "povid": Povid(),
        "sum": WeightedSum(parts, {"sft": 0.5}),
    }


def tensor(values: object, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def make_batch(
    roles: tuple[str, ...],
    sizes: Tensor,
    mask: Tensor | None = None,
    scores: Tensor | None = None,
    weight: Tensor | None = None,
) -> PreferenceBatch:
    rows = sizes.shape[0]
    return PreferenceBatch(
        inputs={},
        roles=roles,
        scores=torch.full(sizes.shape, torch.nan) if scores is None else scores,
        sizes=sizes,
        mask=torch.ones(sizes.shape, dtype=torch.bool) if mask is None else mask,
        weight=torch.ones(rows) if weight is None else weight,
        index=torch.arange(100, 100 + rows),
        truncated=torch.zeros(rows, dtype=torch.bool),
    )


def pairs(dtype: torch.dtype = torch.float64) -> tuple[Likelihood, Likelihood, PreferenceBatch]:
    """The three pairs above; the policy's log-probabilities want gradients."""
    sizes = tensor(SIZES, torch.float32)
    policy = Likelihood(tensor(POLICY, dtype).requires_grad_(), sizes)
    return policy, Likelihood(tensor(REFERENCE, dtype), sizes), make_batch(PAIR, sizes)


def thumbs(dtype: torch.dtype = torch.float64) -> tuple[Likelihood, Likelihood, PreferenceBatch]:
    """The four labelled responses above; the policy's log-probabilities want gradients."""
    sizes = torch.full((4, 2), 3.0)
    scores = torch.stack([torch.tensor(LABELS), torch.full((4,), torch.nan)], dim=1)
    policy = Likelihood(tensor(LABELLED_POLICY, dtype).requires_grad_(), sizes)
    reference = Likelihood(tensor(LABELLED_REFERENCE, dtype), sizes)
    return policy, reference, make_batch(("candidate", "mismatched"), sizes, scores=scores)


def random_pairs(
    rows: int, seed: int = 0, dtype: torch.dtype = torch.float64, roles: tuple[str, ...] = TRIPLE
) -> tuple[Likelihood, Likelihood, PreferenceBatch]:
    """Pairs with other cells beside them, scores, and every quantity that an objective may need."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, len(roles))
    sizes = torch.randint(1, 9, shape, generator=generator).float()
    draw = lambda: -sizes * torch.rand(shape, generator=generator, dtype=torch.float64) - 0.01  # noqa: E731
    policy = Likelihood(draw().to(dtype).requires_grad_(), sizes)
    reference = Likelihood(draw().to(dtype), sizes)
    for one in (policy, reference):
        one.extra = {"corrected_logps": draw().to(dtype) / 2, "corrected_sizes": (sizes / 2).floor()}
        one.extra["misled_logps"] = draw().to(dtype)
    scores = torch.full(shape, torch.nan)
    for column, role in enumerate(roles):
        if role in PAIR:
            scores[:, column] = torch.rand(rows, generator=generator) + 2 * (role == "chosen")
    return policy, reference, make_batch(roles, sizes, scores=scores)


def random_rows(
    name: str,
    rows: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    roles: tuple[str, ...] | None = None,
    spare: tuple[str, ...] = (),
) -> tuple[Likelihood, Likelihood, PreferenceBatch]:
    """Data that a built-in objective learns from: the pairs of `random_pairs`, as lists of two where it wants lists.

    The cells are of `roles`, by default those of `roles_of`, and of `spare`, which no objective reads.
    """
    policy, reference, batch = random_pairs(rows, seed, dtype, (*(roles or roles_of(name)), *spare))
    listwise = all_objectives()[name].feedback == Feedback.LISTWISE
    return policy, reference, as_lists(batch) if listwise else batch


def roles_of(name: str) -> tuple[str, ...]:
    """A pair, and the cells that a built-in objective wants beside it; a mismatched one for the others too."""
    return (*PAIR, *(all_objectives()[name].extra_roles or ("mismatched",)))


def as_lists(batch: PreferenceBatch) -> PreferenceBatch:
    """The same with chosen and rejected as candidates with the scores 1 and 0."""
    scores = batch.scores.clone()
    for column, role in enumerate(batch.roles):
        if role in PAIR:
            scores[:, column] = float(role == "chosen")
    return replace(batch, scores=scores, roles=tuple("candidate" if role in PAIR else role for role in batch.roles))


def run(
    objective: Objective, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch
) -> ObjectiveOutput:
    return objective(policy, reference if objective.uses_reference else None, batch)


def gradient(objective: Objective, policy: Likelihood, reference: Likelihood | None, batch: PreferenceBatch) -> Tensor:
    """The gradient of the batch's loss in the policy's `(B, K)` log-probabilities."""
    return torch.autograd.grad(run(objective, policy, reference, batch).loss(batch), policy.logps)[0]


def assert_close(actual: Tensor, expected: object, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(
        actual.detach().double(),
        torch.as_tensor(expected, dtype=torch.float64).detach(),
        rtol=tolerance,
        atol=tolerance,
    )
