"""Building one section of a parsed config, without the others."""

from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer

from modalign.commands.parsing import prepare_parsing
from modalign.core.callbacks.checkpoint import ResumeCheckpoint
from modalign.core.callbacks.export import Export
from modalign.core.data import PreferenceDataModule
from modalign.core.module import PreferenceModule

CLASSES: dict[str, type] = {
    "model": PreferenceModule,
    "data": PreferenceDataModule,
    "trainer": Trainer,
    "checkpoint": ResumeCheckpoint,
    "export": Export,
}


def build_section(name: str, config: Any) -> Any:
    """What a section describes; of the trainer, its arguments.

    Args:
        name: One of `CLASSES`.
        config: The section, as parsed or as a checkpoint keeps it.

    Raises:
        UserError: A constructor refuses what it is given.
        jsonargparse.ArgumentError: The section does not fit its class.
    """
    prepare_parsing()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(CLASSES[name], name, fail_untyped=False, instantiate=name != "trainer")
    return parser.instantiate(parser.parse_object({name: config}))[name]
