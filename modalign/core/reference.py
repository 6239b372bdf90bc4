"""Where reference likelihoods come from: a frozen copy, the policy with its adapter off, a cache, a moving copy, none.

A reference is no `nn.Module`, so its weights stay out of the policy's checkpoints, optimiser, `.train()` and DDP.
"""

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.content import content_hash, weights_hash
from modalign.core.errors import ConfigError, UserError
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.core.reference_cache import ReferenceCache


@dataclass(frozen=True)
class ReferenceContext:
    """What a reference is prepared from, before training and before a checkpoint is restored.

    Attributes:
        modality: Computes likelihoods.
        policy: As it was loaded.
        needs: What the objective asks of a likelihood.
        batches: Reads all comparisons of this rank once, with fingerprints.
        device: Where likelihoods are to be computed.
        autocast: The precision context of the run.
        precision: Its name.
    """

    modality: Modality
    policy: nn.Module
    needs: Needs = field(default_factory=Needs)
    batches: Callable[[], Iterable[PreferenceBatch]] | None = None
    device: torch.device | str = "cpu"
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    precision: str = "32-true"


class Reference(ABC):
    """Given a batch, the reference's likelihood.

    Attributes:
        starts_equal: Whether it equals the policy before the first step.
        wants_fingerprints: Whether batches must carry their rows' content hashes.
    """

    starts_equal: bool = True
    wants_fingerprints: bool = False

    @abstractmethod
    def prepare(self, context: ReferenceContext) -> None:
        """Get ready, while the policy still is as it was loaded."""

    @abstractmethod
    def likelihood(self, modality: Modality, policy: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        """The reference's likelihood of each cell, without gradient."""

    def place(self, convert: Callable[[nn.Module], nn.Module]) -> None:  # noqa: B027
        """Bring own weights to the run's device and precision by `convert`."""

    def step(self, policy: nn.Module, global_step: int) -> None:  # noqa: B027
        """Called after every optimiser step."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs and cannot make again: tensors and plain types only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Restore `state_dict`."""


class NoReference(Reference):
    """Says outright that a run has no reference."""

    starts_equal = False

    def prepare(self, context: ReferenceContext) -> None:
        """There is nothing to prepare."""

    def likelihood(self, modality: Modality, policy: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        raise ConfigError("A run without a reference was asked for reference likelihoods.", "Set model.reference.")


class FrozenReference(Reference):
    """A second model that is never trained.

    Args:
        model: A hub id or folder of another model; None for a copy of the policy as it is in memory.
    """

    def __init__(self, model: str | None = None) -> None:
        self.model_path = model
        self.starts_equal = model is None
        self.model: nn.Module | None = None

    def prepare(self, context: ReferenceContext) -> None:
        model = copy.deepcopy(context.policy) if self.model_path is None else context.modality.load(self.model_path)
        self.model = model.requires_grad_(False).eval()

    def place(self, convert: Callable[[nn.Module], nn.Module]) -> None:
        self.model = convert(self._ready())

    @torch.no_grad()
    def likelihood(self, modality: Modality, policy: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        return modality.likelihood(self._ready(), batch, needs)

    def _ready(self) -> nn.Module:
        if self.model is None:
            raise UserError("The reference was used before `prepare`.", "Call PreferenceModule.setup first.")
        return self.model


class AdapterReference(Reference):
    """The policy with its adapter switched off: no second model."""

    def prepare(self, context: ReferenceContext) -> None:
        if not (context.modality.supports_adapters and context.modality.has_adapter(context.policy)):
            raise ConfigError(
                "model.reference is adapter, and the policy has no adapter to switch off.",
                "Train an adapter (model.modality.lora), or use model.reference: frozen.",
            )

    @torch.no_grad()
    def likelihood(self, modality: Modality, policy: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        with modality.adapter_off(policy):
            return modality.likelihood(policy, batch, needs)


class MovingReference(FrozenReference):
    """A copy that follows the policy (TR-DPO, arXiv 2404.09656): every `every` steps, ref = (1 - mix) ref + mix policy.

    Args:
        every: Optimiser steps between two updates.
        mix: 1.0 replaces the reference (the hard update), less mixes it in (the soft one; the paper's 0.6).
    """

    def __init__(self, every: int = 64, mix: float = 0.6) -> None:
        super().__init__()
        if every < 1:
            raise ConfigError(f"model.reference.every is {every}.", "Give at least 1 optimiser step.")
        if not 0 < mix <= 1:
            raise ConfigError(f"model.reference.mix is {mix}.", "Give a share above 0 and at most 1.")
        self.every = every
        self.mix = mix

    @torch.no_grad()
    def step(self, policy: nn.Module, global_step: int) -> None:
        if global_step % self.every:
            return
        model = self._ready()
        mine = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, theirs in [*policy.named_parameters(), *policy.named_buffers()]:
            if theirs.is_floating_point():
                mine[name].lerp_(theirs.to(mine[name].dtype), self.mix)
            else:
                mine[name].copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self._ready().state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._ready().load_state_dict(state["model"])


class CachedReference(Reference):
    """Log-probabilities computed once, before the first step, and kept on disk: no second model while training.

    A value is found by the content of everything that changes it: row, weights, tokenizer and likelihood options. What
    has changed is computed anew; a pass that was interrupted goes on where it stopped.

    Args:
        path: The cache file; None for `reference.sqlite` in the folder `MODALIGN_CACHE`, or `~/.cache/modalign`.
    """

    wants_fingerprints = True

    def __init__(self, path: str | None = None) -> None:
        folder = os.environ.get("MODALIGN_CACHE") or Path.home() / ".cache" / "modalign"
        self.path = Path(path) if path else Path(folder) / "reference.sqlite"
        self._cache: ReferenceCache | None = None
        self._model = ""

    def prepare(self, context: ReferenceContext) -> None:
        if context.batches is None:
            raise ConfigError(
                "A cached reference reads the data ahead, which needs a PreferenceDataModule.",
                "Pass one to the trainer, or use model.reference: frozen.",
            )
        self._cache = ReferenceCache(self.path)
        parts = [weights_hash(context.policy), context.modality.fingerprint(), context.precision]
        self._model = content_hash(parts)
        placed = False
        was_training = context.policy.training
        for batch in context.batches():
            keys = self._keys(batch)
            if len(self._cache.get(keys)) == len(keys):
                continue
            if not placed:
                context.policy.to(context.device).eval()
                placed = True
            with torch.no_grad(), context.autocast():
                cells = context.modality.likelihood(context.policy, batch.to(context.device), context.needs)
            values = cells.logps.cpu()[batch.mask.cpu()]
            if not torch.isfinite(values).all():
                raise UserError(
                    f"The reference finds a log-probability that is not finite, in rows {batch.index.tolist()}.",
                    "Look at these rows, or use a wider precision.",
                )
            self._cache.put(dict(zip(keys, values.tolist(), strict=True)))
        context.policy.train(was_training)

    def likelihood(self, modality: Modality, policy: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        assert self._cache is not None
        keys = self._keys(batch)
        values = self._cache.get(keys)
        missing = [key for key in keys if key not in values]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(keys)} reference log-probabilities of a batch are not in {self.path}: it "
                "was changed while the run went on, or each of the run's machines has its own.",
                "With several machines, set model.reference.path to a file on a disk that all share; else start again: "
                "what is missing is computed.",
            )
        cells = torch.tensor([values[key] for key in keys], dtype=torch.float64)
        logps = batch.scatter(cells.to(batch.weight.device, torch.float32))
        return Likelihood(logps, batch.sizes)

    def _keys(self, batch: PreferenceBatch) -> list[str]:
        """One key for each existing cell, row-major; a row's n-th cell of a role has one key in all batches."""
        if len(batch.fingerprints) != len(batch):
            raise ConfigError("A cached reference needs batches with fingerprints.", "Use a PreferenceDataModule.")
        keys = []
        for row, fingerprint in zip(_rows(batch.mask), batch.fingerprints, strict=True):
            seen: dict[str, int] = {}
            for column in row:
                role = batch.roles[column]
                seen[role] = seen.get(role, 0) + 1
                keys.append(f"{self._model}:{fingerprint}:{role}:{seen[role]}")
        return keys


def default_reference(modality: Modality, policy: nn.Module) -> Reference:
    """What a run gets that names no reference: the adapter switched off where there is one, else a frozen copy."""
    adapter = modality.supports_adapters and modality.has_adapter(policy)
    return AdapterReference() if adapter else FrozenReference()


def _rows(mask: Tensor) -> list[list[int]]:
    return [[column for column, there in enumerate(row) if there] for row in mask.tolist()]
