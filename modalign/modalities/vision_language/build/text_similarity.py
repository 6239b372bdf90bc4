"""How alike two texts are: by their letters, or as an encoder sees them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch

from modalign.core.errors import ConfigError, did_you_mean
from modalign.core.hub import resolve_model
from modalign.modalities.explained import explained

TextSimilarityKind = Literal["tfidf", "encoder"]
_OPTIONS: Mapping[str, tuple[str, ...]] = {"tfidf": (), "encoder": ("model", "revision")}
DECIMALS = 6


class TextSimilarity(ABC):
    """Compares texts."""

    @abstractmethod
    def cosines(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        """The cosine of each text and its counterpart, to `DECIMALS` decimals."""


class TfidfSimilarity(TextSimilarity):
    """Of counts of two to four letters in a row within words, those that many texts share counting less.

    Args:
        texts: What is counted; at least one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(texts)

    def cosines(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        products = self._vectorizer.transform(first).multiply(self._vectorizer.transform(second))
        return [round(float(value), DECIMALS) for value in products.sum(axis=1).ravel().tolist()[0]]


class EncoderSimilarity(TextSimilarity):
    """Of an encoder's last hidden states, averaged over a text's tokens: how all-mpnet-base-v2 and its kin are used.

    Args:
        model: A folder or hub id that `AutoModel` loads.
        revision: Of a hub id.
        device: Where it computes.

    Raises:
        UserError: There is no such model, or it cannot be loaded.
    """

    def __init__(self, model: str, revision: str | None, device: torch.device) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = resolve_model(model, ("config.json",), revision)
        with explained(f"the text encoder {model!r}"):
            self._tokenizer = AutoTokenizer.from_pretrained(folder, revision=revision)
            self._model = AutoModel.from_pretrained(folder, revision=revision).to(device).eval().requires_grad_(False)
        self._device = device

    def cosines(self, first: Sequence[str], second: Sequence[str]) -> list[float]:
        products = (self._vectors(first) * self._vectors(second)).sum(-1)
        return [round(value, DECIMALS) for value in products.tolist()]

    def _vectors(self, texts: Sequence[str]) -> torch.Tensor:
        """`(N, D)` float64 of length 1."""
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state.double()
        mask = tokens["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1).clamp(min=1), dim=-1).cpu()


def check_text_similarity(kind: str, options: Mapping[str, Any]) -> None:
    """Refuse what `open_text_similarity` cannot open.

    Raises:
        ConfigError: There is no such similarity, it has no such option, or no model is named.
    """
    if kind not in get_args(TextSimilarityKind):
        raise ConfigError(f"The text similarity {kind!r} is unknown.", did_you_mean(kind, _OPTIONS))
    for name in options:
        if name not in _OPTIONS[kind]:
            raise ConfigError(f"The text similarity {kind} has no option {name!r}.", did_you_mean(name, _OPTIONS[kind]))
    if kind == "encoder" and "model" not in options:
        raise ConfigError(
            "The text similarity `encoder` needs a model.", "Write --text-similarity encoder model=FOLDER_OR_HUB_ID."
        )


def open_text_similarity(
    kind: str, options: Mapping[str, Any], texts: Sequence[str], device: torch.device
) -> TextSimilarity:
    """The similarity of that kind; see `check_text_similarity` for the errors.

    Args:
        kind: One of `TextSimilarityKind`.
        options: Of the encoder.
        texts: What `tfidf` counts.
        device: Where an encoder computes.
    """
    check_text_similarity(kind, options)
    if kind == "tfidf":
        return TfidfSimilarity(texts)
    return EncoderSimilarity(options["model"], options.get("revision"), device)
