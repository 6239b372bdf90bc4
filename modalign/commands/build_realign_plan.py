"""From the options of `modalign build realign` to its plan."""

import argparse
from typing import Any

from modalign.commands.generate_identity import files_identity, plain
from modalign.commands.generate_inputs import build, named_values
from modalign.commands.generate_models import open_models
from modalign.core.content import content_hash
from modalign.core.format import Format
from modalign.core.sources import open_rows
from modalign.modalities.vision_language.build.asking import INSTRUCTION, AskAnew, Asking, AskToFill
from modalign.modalities.vision_language.build.demonstrations import Demonstrations
from modalign.modalities.vision_language.build.embedders import check_embedder
from modalign.modalities.vision_language.build.masking import Masking, read_words
from modalign.modalities.vision_language.build.plan import Named, Plan
from modalign.modalities.vision_language.build.search import check_index
from modalign.modalities.vision_language.build.text_similarity import check_text_similarity


def open_plan(options: argparse.Namespace) -> Plan:
    """Resolve the options.

    Raises:
        UserError: One of them names nothing that exists, or nothing that fits the others.
    """
    check_index(options.index)
    compares = _named(options.text_similarity, "--text-similarity")
    check_text_similarity(*compares)
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
    embeds = _named(options.embedder, "--embedder")
    check_embedder(*embeds, models.modality)
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
    (load,) = models.loads.values()
    return Plan(
        options.out.expanduser().absolute(),
        options,
        models.modality,
        lambda: load(None),
        models.source,
        models.device,
        embeds,
        compares,
        demonstrations,
        asking,
        sampling,
        described,
    )


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


def _named(words: list[str], option: str) -> Named:
    """A name, and what is given with it."""
    name, *given = words
    return name, named_values(given, option)
