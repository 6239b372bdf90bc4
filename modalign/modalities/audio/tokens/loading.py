"""Finding a model's family, and loading its policy and its tokenizer."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model
from modalign.modalities.audio.tokens.family import TokenFamily, TokenSource, frozen_pattern
from modalign.modalities.explained import explained
from modalign.modalities.lora import ALL_LINEAR, Lora, add_lora
from modalign.modalities.text.loading import (
    TOKENIZER_FILES,
    LoadOptions,
    base_of,
    is_adapter,
    load_merged,
    load_weights,
)
from modalign.modalities.text.model_checks import repair_generation_config
from modalign.modalities.text.preparation import checkpoint_activations


def token_source(model: str, processor: str | None, revision: str | None) -> TokenSource:
    """Where a model's configuration and its processor are; those of its base where it is an adapter.

    Raises:
        UserError: A folder or hub id does not exist.
    """
    folder = resolve_model(model, revision=revision)
    own = not is_adapter(folder)
    while is_adapter(folder):
        folder = resolve_model(base_of(folder))
    named = folder if processor is None else resolve_model(processor, ("processor_config.json", "config.json"))
    return TokenSource(folder, named, revision if own else None, revision if own and processor is None else None)


def load_family(source: TokenSource) -> TokenFamily:
    """The adapter that serves the class of a model's configuration; no weights are read.

    Raises:
        UserError: No family serves it, or it cannot be read.
    """
    from transformers import AutoConfig

    with explained(f"the model {source.folder!r}"):
        config = AutoConfig.from_pretrained(source.folder, revision=source.revision, trust_remote_code=False)
    return family_class(source.folder, type(config).__name__)(config, source)


def family_class(model: str, config_class: str) -> type[TokenFamily]:
    """The registered family that serves a class of configurations.

    Raises:
        UserError: There is none.
    """
    from modalign.plugins.manager import registry

    found, served, problems = registry(), list[str](), list[str]()
    for name in found.names("token_family"):
        try:
            each: type[TokenFamily] = found.load("token_family", name)
        except UserError as error:
            problems.append(error.message)
            continue
        if each.config_class == config_class:
            return each
        served.append(each.model_class)
    raise UserError(
        f"{model!r} has a {config_class}, which no family of token models serves; served are {', '.join(served)}."
        + "".join(f" Set aside: {problem}." for problem in problems),
        "Name such a model; the modality audio takes diffusion models.",
    )


def load_tokenizer(source: TokenSource) -> Any:
    """The tokenizer of prompts.

    Raises:
        UserError: It cannot be found or read.
    """
    from transformers import AutoTokenizer

    # Of a folder without one, transformers makes a tokenizer of its own, to which all is unknown.
    resolve_model(source.processor, TOKENIZER_FILES, source.processor_revision)
    with explained(f"the tokenizer of {source.processor!r}"):
        return AutoTokenizer.from_pretrained(
            source.processor, revision=source.processor_revision, trust_remote_code=False
        )


def load_processor(source: TokenSource) -> Any:
    """The whole processor, to be written beside an exported model.

    Raises:
        UserError: It cannot be found or read.
    """
    from transformers import AutoProcessor

    with explained(f"the processor of {source.processor!r}"):
        return AutoProcessor.from_pretrained(
            source.processor, revision=source.processor_revision, trust_remote_code=False
        )


def load_policy(name: str, family: TokenFamily, options: LoadOptions) -> Any:
    """The model of a hub id or folder; an adapter's folder is loaded over its base and merged.

    Args:
        name: Hub id or folder.
        family: That it has to be of.
        options: How weights become a model.

    Raises:
        UserError: It cannot be found, is of another family or takes other codes, or lacks weights.
    """
    import transformers

    folder = resolve_model(name, revision=options.revision)
    if is_adapter(folder):
        return load_merged(name, folder, options, lambda base: load_policy(base, family, options))
    with explained(f"the model {name!r}"):
        config = transformers.AutoConfig.from_pretrained(folder, revision=options.revision, trust_remote_code=False)
    if type(config) is not type(family.config):
        raise UserError(f"{name!r} is no {family.model_class}.", "Name a model of the policy's own class.")
    pattern = type(family)(config, family.source).pattern
    if pattern != family.pattern:
        raise UserError(
            f"{name!r} does not take the policy's codes: it has {pattern.codebooks} codebooks with delays "
            f"{pattern.delays}, and the policy {family.pattern.codebooks} with {family.pattern.delays}.",
            "Name a model of the policy's own codes, for MusicGen one as mono or stereo as the policy.",
        )
    model = load_weights(name, folder, config, getattr(transformers, family.model_class), options)
    repair_generation_config(model)
    return model


def trainable(model: Any, family: TokenFamily, lora: Lora | None, gradient_checkpointing: bool) -> nn.Module:
    """The policy: the decoder or an adapter on it, text encoder and codec frozen, in training mode.

    Raises:
        UserError: The adapter fits no module, or a frozen one.
    """
    for name in family.frozen:
        model.get_submodule(name).requires_grad_(False)
    if gradient_checkpointing:
        checkpoint_activations(model)
    if lora is None:
        return model.train()  # type: ignore[no-any-return]
    heads: Sequence[str] = family.heads if lora.target_modules == ALL_LINEAR else ()
    return add_lora(model, lora, family.lora_targets, frozen=frozen_pattern([*family.frozen, *heads])).train()
