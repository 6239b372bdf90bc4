"""What `modalign build realign` was asked for: its options, resolved and checked before anything is computed."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from modalign.commands.generate_identity import files_identity, plain
from modalign.commands.generate_inputs import build, named_values
from modalign.commands.generate_models import Models, open_models
from modalign.core.content import content_hash
from modalign.core.format import Format
from modalign.core.sources import open_rows
from modalign.modalities.vision_language.build.asking import INSTRUCTION, AskAnew, Asking, AskToFill
from modalign.modalities.vision_language.build.demonstrations import Demonstrations, Survey
from modalign.modalities.vision_language.build.embedders import Embedder, check_embedder, open_embedder
from modalign.modalities.vision_language.build.masking import Masking, read_words
from modalign.modalities.vision_language.build.search import check_index
from modalign.modalities.vision_language.build.text_similarity import (
    TextSimilarity,
    check_text_similarity,
    open_text_similarity,
)


@dataclass(frozen=True)
class Plan:
    """Everything that the steps need.

    Attributes:
        folder: Where everything is written, absolute.
        options: Of the command line.
        models: Hold the policy.
        demonstrations: Whose responses are preferred.
        asking: How the policy is asked.
        sampling: Options of the modality.
        described: What decides the outcome beside the content of the demonstrations, as plain values by name.
    """

    folder: Path
    options: argparse.Namespace
    models: Models
    demonstrations: Demonstrations
    asking: Asking
    sampling: Mapping[str, Any]
    described: Mapping[str, Any]

    @cached_property
    def policy(self) -> nn.Module:
        """The policy on its device, loaded when it is first asked for."""
        (name,) = self.models.policies
        return self.models.loads[name](None).to(self.models.device).eval()

    @property
    def embedder_identity(self) -> Mapping[str, Any]:
        """What decides an image's vector."""
        named = {name: value for name, value in self.described.items() if name.startswith("embedder")}
        return {**named, **self.models.source} if self.options.embedder == ["policy"] else named

    def embedder(self) -> Embedder:
        """The embedder; its model is loaded when it is first used."""
        kind, options = _named(self.options.embedder, "--embedder")
        models = self.models
        return open_embedder(kind, options, models.modality, lambda: self.policy, models.device)

    def text_similarity(self, survey: Survey) -> TextSimilarity:
        """What compares responses."""
        kind, options = _named(self.options.text_similarity, "--text-similarity")
        return open_text_similarity(kind, options, survey.texts, self.models.device)

    def settings(self, survey: Survey) -> dict[str, Any]:
        """All that decides the outcome; a folder is only continued by the same."""
        return {"demonstrations": f"{len(survey.places)}, hash {survey.content}", **self.described}


def open_plan(options: argparse.Namespace) -> Plan:
    """Resolve the options.

    Raises:
        UserError: One of them names nothing that exists, or nothing that fits the others.
    """
    check_index(options.index)
    check_text_similarity(*_named(options.text_similarity, "--text-similarity"))
    asking = _asking(options)
    sampling = named_values(options.sampling, "--sampling")
    sources = [open_rows(path, options.split) for path in options.data]
    name, given = _named(options.format, "--format")
    format, format_described = build(Format, {"class_path": name, "init_args": given}, "--format", "Check its options.")
    if options.model and not (options.config or options.modality):
        options.modality = ["vision_language"]
    # Of a checkpoint or a folder, the policy is what was trained; a config alone describes the model before training.
    options.base = bool(options.config and not options.model)
    models = open_models(options)
    models.modality.check_sampling(sampling)
    check_embedder(*_named(options.embedder, "--embedder"), models.modality)
    demonstrations = Demonstrations(sources, format, models.modality, options.limit)
    described = {
        "data": [source.name for source in sources],
        "split": options.split,
        "format": plain(format_described),
        "limit": options.limit,
        **_described(options),
        "sampling": sampling,
        **models.source,
    }
    return Plan(options.out.expanduser().absolute(), options, models, demonstrations, asking, sampling, described)


def _described(options: argparse.Namespace) -> dict[str, Any]:
    names = ("batch_size", "neighbours", "similarity", "index", "rejected", "accept_below", "seed")
    own = {name: getattr(options, name) for name in names}
    if options.rejected == "mask":
        words = None if options.words is None else content_hash(sorted(read_words(options.words)))
        own |= {"words": words, "mask_share": _share(options), "instruction": options.instruction or INSTRUCTION}
    for option in ("embedder", "text_similarity"):
        kind, given = _named(getattr(options, option), option)
        own |= {option: kind, **{f"{option}.{name}": value for name, value in given.items()}}
        own |= {f"{option}'s {name}": files for name, value in given.items() if (files := files_identity(value))}
    return own


def _asking(options: argparse.Namespace) -> Asking:
    if options.rejected == "regenerate":
        return AskAnew()
    words = None if options.words is None else read_words(options.words)
    return AskToFill(Masking(words, _share(options), options.seed), options.instruction or INSTRUCTION)


def _share(options: argparse.Namespace) -> float:
    return Masking.share if options.mask_share is None else float(options.mask_share)


def _named(words: list[str], option: str) -> tuple[str, dict[str, Any]]:
    """A name, and what is given with it."""
    name, *given = words
    return name, named_values(given, option)
