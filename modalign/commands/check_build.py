"""Building each part of a run by itself, so that one that cannot be built hides no other."""

import inspect
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from modalign.commands.lightning_cli import ModalignCLI
from modalign.commands.sections import CLASSES, build_section
from modalign.core.data import PreferenceDataModule
from modalign.core.errors import UserError
from modalign.core.module import PreferenceModule
from modalign.core.reference import AdapterReference, ReferenceContext

MISTAKES = (UserError, MisconfigurationException, ArgumentError, ValueError, TypeError, ImportError)
"""What a constructor raises when it is given something wrong."""


class Parts:
    """What could be built.

    Args:
        cli: A parsed config.

    Attributes:
        module: None where it cannot be built.
        data: None where it cannot be built.
        problems: What is in the way.
    """

    def __init__(self, cli: ModalignCLI) -> None:
        self.problems: list[str] = []
        built = {name: self._section(name, cli.config["fit"][name]) for name in CLASSES}
        self.module: PreferenceModule | None = built["model"]
        self.data: PreferenceDataModule | None = built["data"]
        if None not in (built["trainer"], built["checkpoint"], built["export"]):
            self._trainer(cli, built)
        if self.module is not None:
            self.problems += _policy_problems(self.module)

    def _section(self, name: str, config: Namespace) -> Any:
        try:
            return build_section(name, config)
        except MISTAKES as error:
            inner = list(_inner_problems(name, config))
            self.problems += inner or [f"{name}: {error}"]
            return None

    def _trainer(self, cli: ModalignCLI, built: dict[str, Any]) -> None:
        try:
            cli.config_init = {"fit": built}
            cli.instantiate_trainer()
        except MISTAKES as error:
            self.problems.append(f"trainer: {error}")


def _inner_problems(section: str, config: Namespace) -> Iterator[str]:
    """What is wrong with the objects that a section's constructor is given, each by itself."""
    for name, parameter in inspect.signature(CLASSES[section]).parameters.items():
        given = config.get(name)
        if not isinstance(given, Namespace) or name == "optimizer":
            continue
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--part", type=parameter.annotation)
        try:
            parser.instantiate(parser.parse_object({"part": given}))
        except MISTAKES as error:
            yield f"{section}.{name}: {error}"


def _policy_problems(module: PreferenceModule) -> Iterator[str]:
    try:
        policy = module.modality.load()
        if not any(parameter.requires_grad for parameter in policy.parameters()):
            yield "model.modality: no parameter of the policy is trainable"
        if isinstance(module.reference, AdapterReference):
            module.reference.prepare(ReferenceContext(module.modality, policy))
    except UserError as error:
        yield f"model.modality: {error}"
