"""Which models `modalign generate` generates with."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.commands.generate_identity import files_identity, modality_identity
from modalign.commands.generate_inputs import build, named_values
from modalign.commands.lightning_cli import ModalignCLI
from modalign.commands.precheck import precheck
from modalign.commands.sections import build_section
from modalign.commands.trained import AVERAGE, RAW, Trained, read_trained
from modalign.core.content import content_hash
from modalign.core.devices import device_of
from modalign.core.errors import UserError, did_you_mean
from modalign.core.modality import Modality
from modalign.plugins.manager import registry

BASE, ALIGNED = "base", "aligned"

Load = Callable[[nn.Module | None], nn.Module]
"""Makes a policy, or makes one of the policy before it."""


@dataclass(frozen=True)
class Models:
    """The policies and what makes them.

    Attributes:
        modality: Of all of them.
        loads: How each policy comes about, by its name, in order.
        source: What they are, as plain values.
        device: Where they run.
        reuses: Whether a policy is made of the one before it, in its place.
    """

    modality: Modality
    loads: Mapping[str, Load]
    source: Mapping[str, Any]
    device: torch.device
    reuses: bool = False

    @property
    def policies(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.loads)

    def each(self, names: Sequence[str], use: Callable[[str, nn.Module], None]) -> None:
        """Hand the policies of these names over, one after another: never two in memory.

        Args:
            names: Of `policies`.
            use: Takes a name and the policy, and keeps neither.
        """
        policy: nn.Module | None = None
        for name in names:
            if not self.reuses:
                policy = None  # before the next is loaded
            policy = self.loads[name](policy).to(self.device)
            use(name, policy)


def open_models(options: argparse.Namespace) -> Models:
    """What the command's options describe; no policy is loaded yet.

    Raises:
        UserError: It does not exist, or cannot be built.
    """
    device = device_of(options.device)
    if options.checkpoint:
        trained = read_trained(options.checkpoint, options.weights)
        loads = {ALIGNED: _trained(trained)} if options.base is False else _from_base(trained)
        source = {
            "checkpoint": str(trained.path.resolve()),
            "step": trained.step,
            "weights": f"{AVERAGE if trained.averaged else RAW}, hash {content_hash(trained.weights)}",
            **modality_identity(trained.config["model"]["modality"]),
        }
        return Models(trained.modality, loads, {**source, "policies": list(loads)}, device, reuses=True)
    modality, described = (
        _of_config(options.config) if options.config else _of_folder(options.model, options.modality or ["text"])
    )
    loads = {}
    if options.config and options.base is not False:
        loads[BASE] = lambda before: modality.load()
    if options.model:
        loads[ALIGNED] = lambda before: modality.load(options.model)
    source = {
        "config": options.config and str(options.config.resolve()),
        "model": options.model,
        "model's files": files_identity(options.model),
        **modality_identity(described),
    }
    return Models(modality, loads, {**source, "policies": list(loads)}, device)


def _from_base(trained: Trained) -> dict[str, Load]:
    return {BASE: lambda before: trained.modality.load(), ALIGNED: _trained(trained)}


def _trained(trained: Trained) -> Load:
    """Puts the trained weights into the policy before training, loaded unless it is there."""

    def load(before: nn.Module | None) -> nn.Module:
        policy = before if before is not None else trained.modality.load()
        trained.put_into(policy)
        return policy

    return load


def _of_config(path: Path) -> tuple[Modality, Any]:
    """The modality of a config, and its description."""
    arguments = ["--config", str(path)]
    cli = ModalignCLI("fit", arguments, precheck("fit", arguments), build=False)
    section = cli.config["fit"].model
    return build_section("model", section).modality, section.modality


def _of_folder(model: str, words: Sequence[str]) -> tuple[Modality, Any]:
    """The modality of `--modality`, and its description."""
    name, *given = words
    if name not in registry().names("modality"):
        raise UserError(f"no modality is called {name!r}", did_you_mean(name, registry().names("modality")))
    arguments = {"model": model, **named_values(given, "--modality")}
    described = {"class_path": name, "init_args": arguments}
    return build(Modality, described, "--modality", "Check its options.")
