"""Encoding each distinct set of media of a batch once, and calling a model with what came out.

That a model's own forward gives the same is checked when it first sees or hears something.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from modalign.modalities.modes import eval_mode, is_of_peft
from modalign.modalities.text.attention_masks import model_inputs
from modalign.modalities.text.logprobs import joined
from modalign.modalities.text.verification import NOT_TAKEN, nearly_equal
from modalign.modalities.vision_language.collation import CROSS_ATTENTION, select_cells
from modalign.modalities.vision_language.features import Features, leaves
from modalign.modalities.vision_language.pathways import PATHWAYS, MediaTensors, Pathway, RowByRow, concatenated

log = logging.getLogger(__name__)

Forward = tuple[Tensor, dict[str, Any], dict[str, Any]]

CHECKED = 2
"""How many sets of media a model's pathway is checked on."""

PREFIX_MODELS = ("paligemma",)
"""Models whose token types tell the prompt (0), seen in both directions, from the completion (1)."""

_pathways: "WeakKeyDictionary[nn.Module, Pathway]" = WeakKeyDictionary()
_batched: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()


def with_features(causal: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """The same inputs with the `features` of each of their `media`, encoded here.

    What a frozen tower makes of a batch is kept with its inputs, for another likelihood of the same model: a reference
    that is the policy without its adapter has the same tower.

    Args:
        causal: The model.
        inputs: As collated.
    """
    pathway = pathway_of(causal, inputs)
    if not pathway.encodes or not inputs["media"]:
        return inputs
    frozen = tower_is_frozen(causal)
    encoder, features = inputs.get("encoded", (None, None))
    if frozen and encoder is causal:
        return {**inputs, "features": features}
    with _as_frozen(causal) if frozen else ExitStack():
        features = _encode(causal, pathway, inputs)
    if frozen and not torch.is_inference_mode_enabled():
        inputs["encoded"] = (causal, features)
    return {**inputs, "features": features}


def forwards(causal: nn.Module, inputs: dict[str, Any]) -> Iterator[Forward]:
    """The forwards that see each cell once.

    Args:
        causal: The model.
        inputs: From `with_features`.

    Returns:
        For each, `(N,)` bool, the cells; their inputs; and what the model is called with.
    """
    return _forwards(causal, pathway_of(causal, inputs), inputs)


def pathway_of(causal: nn.Module, inputs: dict[str, Any]) -> Pathway:
    """The first way that a model can go; checked on the first inputs with media, and logged if it is the slow one."""
    if causal in _pathways:
        return _pathways[causal]
    if not inputs["media"]:
        return RowByRow()
    with eval_mode(causal), torch.no_grad():
        found = next(kind() for kind in PATHWAYS if _fits(causal, kind, inputs))
    if not found.encodes:
        log.warning("%s takes no encoded media: they are encoded again for every response", type(causal).__name__)
    return _pathways.setdefault(causal, found)


def tower_is_frozen(causal: Any) -> bool:
    """Whether what media go through before the language model stays as it is: nothing trained, and no adapter.

    An adapter is not frozen even where none of its weights trains: it can be switched off.
    """
    decoder = causal.get_decoder()
    told_apart = decoder not in (causal, causal.base_model)
    language = {*decoder.modules(), *decoder.parameters()} if told_apart else set()
    return not any(
        part not in language and (part.requires_grad if isinstance(part, nn.Parameter) else is_of_peft(part))
        for part in (*causal.base_model.parameters(), *causal.base_model.modules())
    )


@contextmanager
def _as_frozen(causal: Any) -> Iterator[None]:
    """A context in which all but the language model computes without gradient and without dropout."""
    decoder = causal.get_decoder()
    with torch.no_grad(), ExitStack() as modes:
        for part in causal.base_model.children():
            if part is not decoder:
                modes.enter_context(eval_mode(part))
        yield


def _forwards(causal: Any, pathway: Pathway, inputs: dict[str, Any]) -> Iterator[Forward]:
    for group in pathway.groups(inputs):
        keep = torch.zeros(len(inputs["media_of"]), dtype=torch.bool, device=inputs["input_ids"].device)
        keep[group] = True
        some = inputs if len(group) == len(keep) else select_cells(inputs, keep)
        yield keep, some, _arguments(causal, pathway, some)


def _arguments(causal: Any, pathway: Pathway, inputs: dict[str, Any]) -> dict[str, Any]:
    token_wise = dict(inputs["token_wise"])
    if causal.config.model_type in PREFIX_MODELS:
        types = token_wise["token_type_ids"].clone()
        types.view(-1)[inputs["predictors"] + 1] = 1
        token_wise["token_type_ids"] = types
    if not inputs["media"]:
        token_wise.pop(CROSS_ATTENTION, None)
    return {**model_inputs(causal, inputs), **token_wise, **pathway.arguments(causal, inputs)}


def _encode(causal: Any, pathway: Pathway, inputs: dict[str, Any]) -> list[Features]:
    """The features of each of `media`; those of like shapes are encoded together where that changes nothing."""
    media, tokens = inputs["media"], _places(causal, pathway, inputs)
    features: list[Features | None] = [None] * len(media)
    for group in _alike(media):
        together = _encode_together(causal, pathway, [media[n] for n in group], [tokens[n] for n in group])
        for place, number in enumerate(group):
            features[number] = together[place]
    return [each for each in features if each is not None]


def _encode_together(
    causal: Any, pathway: Pathway, media: Sequence[MediaTensors], tokens: Sequence[int]
) -> list[Features]:
    """The features of sets of like shapes: encoded in one call, unless that gives this model other features."""
    if len(media) == 1 or not _batched.get(causal, True):
        return _encode_apart(causal, pathway, media)
    together = pathway.cut(pathway.encode(causal, concatenated(media)), tokens)
    if together is None or causal not in _batched:
        apart = _encode_apart(causal, pathway, media)
        _batched[causal] = together is not None and all(map(_same, leaves(together), leaves(apart)))
    # Also on the call that checks: a resumed run checks on another batch, and must see the same bits.
    return together if together is not None and _batched[causal] else apart


def _encode_apart(causal: Any, pathway: Pathway, media: Sequence[MediaTensors]) -> list[Features]:
    return [pathway.encode(causal, each) for each in media]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and nearly_equal(one, other)


def _alike(media: Sequence[MediaTensors]) -> list[list[int]]:
    """The numbers of sets whose tensors differ in nothing but their first dimension."""
    groups: dict[Any, list[int]] = {}
    for number, each in enumerate(media):
        kinds = sorted((name, tensor.dtype, tensor.shape[1:]) for name, tensor in each.items() if tensor.dim())
        groups.setdefault(tuple(kinds) if len(kinds) == len(each) else number, []).append(number)
    return list(groups.values())


def _places(causal: Any, pathway: Pathway, inputs: dict[str, Any]) -> list[int]:
    """How many tokens stand for each of `media`; zeros where the model does not tell which token does."""
    token = getattr(causal.config, pathway.place, None)
    if token is None:
        return [0] * len(inputs["media"])
    counts = ((inputs["input_ids"] == token) & inputs["attention_mask"].bool()).sum(1).tolist()
    return [counts[inputs["media_of"].index(number)] for number in range(len(inputs["media"]))]


def _fits(causal: Any, kind: type[Pathway], inputs: dict[str, Any]) -> bool:
    return kind.fits(causal, inputs["media"][0]) and _agrees(causal, kind(), inputs)


def _agrees(causal: Any, pathway: Pathway, inputs: dict[str, Any]) -> bool:
    """Whether cells have the hidden states that they have alone, with the processor's own tensors."""
    if not pathway.encodes:
        return True
    keep = torch.zeros(len(inputs["media_of"]), dtype=torch.bool, device=inputs["input_ids"].device)
    keep[[inputs["media_of"].index(number) for number in range(len(inputs["media"]))][:CHECKED]] = True
    some = select_cells(inputs, keep)
    try:
        found = _hidden(causal, pathway, {**some, "features": _encode(causal, pathway, some)})
    except NOT_TAKEN as error:
        log.debug("%s does not go by %s: %r", type(causal).__name__, type(pathway).__name__, error)
        return False
    return nearly_equal(found, _hidden(causal, RowByRow(), some))


def _hidden(causal: Any, pathway: Pathway, inputs: dict[str, Any]) -> Tensor:
    """`(M, H)` hidden states that predict the scored tokens."""
    parts = []
    for keep, some, arguments in _forwards(causal, pathway, inputs):
        hidden = causal.base_model(**arguments, use_cache=False)[0]
        parts.append((keep, hidden.flatten(0, 1)[some["predictors"]]))
    return joined(parts, inputs)
