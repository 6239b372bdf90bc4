"""Building each part of a run by itself, so that one that cannot be built hides no other."""

import inspect
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from modalign.commands.lightning_cli import ModalignCLI
from modalign.commands.messages import constructors_message
from modalign.commands.sections import CLASSES, build_section
from modalign.core.callbacks.export import Export
from modalign.core.callbacks.samples import SampleLog
from modalign.core.data import PreferenceDataModule
from modalign.core.errors import UserError
from modalign.core.modality import Modality
from modalign.core.objectives.base import Objective
from modalign.core.reference import AdapterReference, Reference, ReferenceContext

MISTAKES = (UserError, MisconfigurationException, ArgumentError, ValueError, TypeError, ImportError)
"""What a constructor raises when it is given something wrong."""


class Parts:
    """What could be built.

    Args:
        cli: A parsed config.

    Attributes:
        modality: None where it cannot be built; so with the others.
        objective: The loss.
        reference: What the config names, if anything.
        data: The data module.
        problems: What is in the way.
    """

    def __init__(self, cli: ModalignCLI) -> None:
        self.problems: list[str] = []
        self._config = cli.config["fit"]
        module = self._section("model")
        names = ("modality", "objective", "reference")
        pieces = {name: getattr(module, name) for name in names} if module else self._pieces("model")
        self.modality: Modality | None = pieces.get("modality")
        self.objective: Objective | None = pieces.get("objective")
        self.reference: Reference | None = pieces.get("reference")
        self.data: PreferenceDataModule | None = self._section("data")
        self._trainer(cli)
        if self.modality is not None:
            self._policy(self.modality)

    def _section(self, name: str) -> Any:
        """What a section describes; None where it cannot be built, its problems noted."""
        try:
            return build_section(name, self._config[name])
        except MISTAKES as error:
            before = len(self.problems)
            self._pieces(name)
            if len(self.problems) == before:
                self.problems.append(f"{name}: {error}")
            return None

    def _pieces(self, section: str) -> dict[str, Any]:
        """Those of the objects that a section's constructor is given which can be built by themselves."""
        built = {}
        for name, parameter in inspect.signature(CLASSES[section]).parameters.items():
            given = self._config[section].get(name)
            if not isinstance(given, Namespace) or name == "optimizer":  # which is built from parameters
                continue
            parser = ArgumentParser(exit_on_error=False)
            parser.add_argument("--piece", type=parameter.annotation)
            try:
                built[name] = parser.instantiate(parser.parse_object({"piece": given})).piece
            except MISTAKES as error:
                self.problems.append(f"{section}.{name}: {constructors_message(error)}")
        return built

    def _trainer(self, cli: ModalignCLI) -> None:
        built = {name: self._section(name) for name in ("trainer", "checkpoint", "export")}
        if None in built.values():
            return
        try:
            cli.config_init = {"fit": built}
            trainer = cli.instantiate_trainer()
            if self.modality is not None:
                _check_outputs(trainer, self.modality)
        except MISTAKES as error:
            self.problems.append(f"trainer: {error}")

    def _policy(self, modality: Modality) -> None:
        try:
            policy = modality.load()
            if not any(parameter.requires_grad for parameter in policy.parameters()):
                self.problems.append("model.modality: no parameter of the policy is trainable")
            if isinstance(self.reference, AdapterReference):
                self.reference.prepare(ReferenceContext(modality, policy))
        except UserError as error:
            self.problems.append(f"model.modality: {error}")


def _check_outputs(trainer: Trainer, modality: Modality) -> None:
    """Refuse what the run's samples and its export would refuse once it has trained."""
    for callback in trainer.callbacks:
        if isinstance(callback, SampleLog):
            callback.check(modality)
        elif isinstance(callback, Export) and callback.enabled:
            modality.check_export(callback.options)
