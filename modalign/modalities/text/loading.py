"""Loading a language model and its tokenizer from a hub id or a folder, with errors a user can act on."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model
from modalign.modalities.explained import explained

log = logging.getLogger(__name__)

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]
Quantization = Literal["4bit", "8bit"]

ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json")
ORIGINAL_DROPOUT = "dropout_as_loaded"
CAUSAL_LM = "AutoModelForCausalLM"


@dataclass(frozen=True)
class LoadOptions:
    """How weights become a model.

    Args:
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Whether the repository's own Python code may run.
        dtype: Of the weights; "auto" takes the checkpoint's.
        attn_implementation: A name transformers knows, such as "sdpa" or "flash_attention_2"; None lets it choose.
        quantization: Load frozen weights in so many bits through bitsandbytes.
        disable_dropout: Set every dropout probability in the model's config, and in those of its parts, to 0.
    """

    revision: str | None = None
    trust_remote_code: bool = False
    dtype: Dtype = "float32"
    attn_implementation: str | None = None
    quantization: Quantization | None = None
    disable_dropout: bool = True


def load_tokenizer(name: str, revision: str | None, trust_remote_code: bool) -> Any:
    """The tokenizer of a hub id or folder; that of its base model where an adapter's folder holds none.

    Raises:
        UserError: It cannot be found or read.
    """
    # Data workers are forked from a process that has tokenised: tokenizers would warn of a deadlock in each of them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import AutoTokenizer

    folder = resolve_model(name, (*TOKENIZER_FILES, ADAPTER_CONFIG), revision)
    if is_adapter(folder) and not any((Path(folder) / file).is_file() for file in TOKENIZER_FILES):
        return load_tokenizer(base_of(folder), None, trust_remote_code)
    with explained(f"the tokenizer of {name!r}"):
        return AutoTokenizer.from_pretrained(folder, revision=revision, trust_remote_code=trust_remote_code)


def load_model(name: str, options: LoadOptions, auto_classes: Sequence[str] = (CAUSAL_LM,)) -> Any:
    """The model of a hub id or folder; an adapter's folder is loaded over its base and merged.

    Args:
        name: Hub id or folder.
        options: How weights become a model.
        auto_classes: The names of the classes of transformers that know models of the wanted kind; the first that
            knows this one loads it.

    Raises:
        UserError: It cannot be found, is of another kind, or lacks weights.
    """
    folder = resolve_model(name, revision=options.revision)
    if is_adapter(folder):
        return load_merged(name, folder, options, lambda base: load_model(base, options, auto_classes))
    import transformers

    with explained(f"the model {name!r}"):
        config = transformers.AutoConfig.from_pretrained(folder, **_source(options))
    # Of a Qwen-Omni, the part that answers in text; its weights are found among the others'.
    config = getattr(config, "thinker_config", config)
    if config.is_encoder_decoder:
        raise UserError(f"{name!r} is an encoder-decoder model.", "Choose a decoder-only model.")
    return load_weights(name, folder, config, _auto_class(name, config, auto_classes), options)


def load_weights(name: str, folder: str, config: Any, model_class: Any, options: LoadOptions) -> Any:
    """A model of a known class.

    Args:
        name: What the user calls it.
        folder: Where it is, or its hub id.
        config: As loaded from there; its dropout is switched off where `options` say so.
        model_class: Of transformers, with `from_pretrained`.
        options: How weights become a model.

    Raises:
        UserError: Weights are missing or cannot be read.
    """
    dropout = _disable_dropout(config) if options.disable_dropout else {}
    extra = _optional_arguments(options)
    with explained(f"the model {name!r}"):
        model, report = model_class.from_pretrained(
            folder,
            config=config,
            dtype=_torch_dtype(options.dtype),
            output_loading_info=True,
            **_source(options),
            **extra,
        )
    check_report(name, report)
    setattr(model, ORIGINAL_DROPOUT, dropout)
    return model


def _auto_class(name: str, config: Any, auto_classes: Sequence[str]) -> Any:
    """The first of some classes of transformers that knows a model by its config."""
    import transformers

    own_code = getattr(config, "auto_map", None) or {}
    for auto_class in auto_classes:
        auto = getattr(transformers, auto_class)
        if type(config) in auto._model_mapping or auto_class in own_code:
            return auto
    raise UserError(
        f"{name!r} is a {config.model_type} model, which {' or '.join(auto_classes)} does not load.",
        "The modality text takes causal language models, vision_language those that answer prompts with images, "
        "audio_language those that answer prompts with sounds.",
    )


def is_adapter(folder: str) -> bool:
    """Whether a resolved model is a local folder that holds a peft adapter."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


@contextmanager
def dropout_as_loaded(model: nn.Module) -> Iterator[None]:
    """A context in which the model's config holds the dropout probabilities it was loaded with, to be saved so."""
    found: Mapping[tuple[str, str], float] = getattr(model, ORIGINAL_DROPOUT, {})
    parts = dict(_configs(model.config))
    now = {(part, name): getattr(parts[part], name) for part, name in found}
    _set_dropout(parts, found)
    try:
        yield
    finally:
        _set_dropout(parts, now)


def _source(options: LoadOptions) -> dict[str, Any]:
    return {"revision": options.revision, "trust_remote_code": options.trust_remote_code}


def _torch_dtype(dtype: Dtype) -> torch.dtype | str:
    return "auto" if dtype == "auto" else getattr(torch, dtype)


def _disable_dropout(config: Any) -> dict[tuple[str, str], float]:
    """Set a config's dropout probabilities to 0; returns those that were not, by part of the config and name."""
    parts = dict(_configs(config))
    found = {
        (part, name): value
        for part, its_config in parts.items()
        for name, value in vars(its_config).items()
        if "drop" in name and isinstance(value, float) and value > 0
    }
    _set_dropout(parts, dict.fromkeys(found, 0.0))
    if found:
        told = (f"{part}.{name} was {value}".lstrip(".") for (part, name), value in found.items())
        log.info("Dropout is off: %s", ", ".join(told))
    return found


def _configs(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A config and those of a composite model's parts, however nested, by their path."""
    yield path, config
    for name in config.sub_configs:
        if hasattr(part := getattr(config, name, None), "sub_configs"):
            yield from _configs(part, f"{path}.{name}".lstrip("."))


def _set_dropout(parts: Mapping[str, Any], values: Mapping[tuple[str, str], float]) -> None:
    for (part, name), value in values.items():
        setattr(parts[part], name, value)


def _optional_arguments(options: LoadOptions) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if options.attn_implementation is not None:
        arguments["attn_implementation"] = options.attn_implementation
    if options.quantization is not None:
        arguments["quantization_config"] = _quantization_config(options.quantization)
    return arguments


def _quantization_config(bits: Quantization) -> Any:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"modality.quantization: {bits} needs the package bitsandbytes, which is not installed.",
            "Run `pip install bitsandbytes`, or drop the option.",
        )
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    # NF4 with double quantisation, as in QLoRA (Dettmers et al. 2023, arXiv:2305.14314).
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def check_report(name: str, report: Any) -> None:
    """Refuse weights that are not there: transformers would draw them at random with a warning.

    Args:
        name: What the user calls the model.
        report: Of `from_pretrained` with `output_loading_info`.

    Raises:
        UserError: Some are missing.
    """
    missing = sorted(report["missing_keys"])
    if missing:
        raise UserError(
            f"{name!r} lacks {len(missing)} of the model's weights, among them {', '.join(missing[:3])}.",
            "Name a checkpoint that is complete, of a model of this kind.",
        )
    unexpected = sorted(report["unexpected_keys"])
    if unexpected:
        log.warning("%r holds %d weights the model has no use for: %s", name, len(unexpected), unexpected[:3])


def load_merged(name: str, folder: str, options: LoadOptions, load: Callable[[str], Any]) -> Any:
    """The model of an adapter's folder: its base with the adapter merged in.

    Args:
        name: What the user calls it.
        folder: Where it is.
        options: How the base is loaded.
        load: Loads the base.

    Raises:
        UserError: The base cannot be loaded or is to be quantised, or the adapter does not fit it.
    """
    from peft import PeftModel

    base = base_of(folder)
    if options.quantization is not None:
        raise UserError(
            f"{name!r} is an adapter, which cannot be merged into quantised weights.",
            f"Merge it first, or start from its base {base!r}.",
        )
    log.info("%r is an adapter: it is merged into its base model %r", name, base)
    model = load(base)
    with explained(f"the adapter {name!r}"):
        return PeftModel.from_pretrained(model, folder).merge_and_unload()


def base_of(folder: str) -> str:
    """The model that an adapter's folder belongs to.

    Raises:
        UserError: The folder does not say.
    """
    from peft import PeftConfig

    with explained(f"the adapter {folder!r}"):
        base = PeftConfig.from_pretrained(folder).base_model_name_or_path
    if not base or Path(base).resolve() == Path(folder).resolve():
        raise UserError(f"The adapter {folder!r} does not say which model it belongs to.", "Merge it into its base.")
    return str(base)
