"""Which models `modalign generate` generates with."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modalign.commands.generate_inputs import build, named_values
from modalign.commands.lightning_cli import ModalignCLI
from modalign.commands.precheck import precheck
from modalign.commands.sections import build_section
from modalign.commands.trained import AVERAGE, RAW, Trained, read_trained
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
    """

    modality: Modality
    loads: Mapping[str, Load]
    source: Mapping[str, Any]
    device: torch.device

    @property
    def policies(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.loads)

    def load(self, names: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
        """The policies of these names, one after another: never two in memory."""
        policy: nn.Module | None = None
        for name in names:
            policy = self.loads[name](policy).to(self.device)
            yield name, policy


def open_models(options: argparse.Namespace) -> Models:
    """What the command's options describe; no weights are loaded yet.

    Raises:
        UserError: It does not exist, or cannot be built.
    """
    device = _device(options.device)
    if options.checkpoint:
        trained = read_trained(options.checkpoint, options.weights)
        loads = {ALIGNED: _trained(trained)} if options.base is False else _from_base(trained)
        source = {
            "checkpoint": str(trained.path.resolve()),
            "step": trained.step,
            "weights": AVERAGE if trained.averaged else RAW,
        }
        return Models(trained.modality, loads, {**source, "policies": list(loads)}, device)
    modality = _of_config(options.config) if options.config else _of_folder(options.model, options.modality or ["text"])
    loads = {}
    if options.config and options.base is not False:
        loads[BASE] = lambda before: modality.load()
    if options.model:
        loads[ALIGNED] = lambda before: modality.load(options.model)
    source = {"config": options.config and str(options.config.resolve()), "model": options.model}
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


def _of_config(path: Path) -> Modality:
    arguments = ["--config", str(path)]
    cli = ModalignCLI("fit", arguments, precheck("fit", arguments), build=False)
    modality: Modality = build_section("model", cli.config["fit"].model).modality
    return modality


def _of_folder(model: str, words: Sequence[str]) -> Modality:
    name, *given = words
    if name not in registry().names("modality"):
        raise UserError(f"no modality is called {name!r}", did_you_mean(name, registry().names("modality")))
    arguments = {"model": model, **named_values(given, "--modality")}
    described = {"class_path": name, "init_args": arguments}
    modality: Modality = build(Modality, described, "--modality", "Check its options.")
    return modality


def _device(name: str | None) -> torch.device:
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"--device {name}: there is no such device", "Give cpu, cuda or cuda:1.") from error
