"""Similarities of texts: of letters against scikit-learn's own matrix, of an encoder against its own states."""

from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.errors import ConfigError, UserError
from modalign.modalities.text.scratch import write_scratch_model
from modalign.modalities.vision_language.build.text_similarity import (
    EncoderSimilarity,
    TfidfSimilarity,
    check_text_similarity,
    open_text_similarity,
)

TEXTS = ["A red circle on the left.", "A red circle on the right.", "Two blue squares.", "What is it?"]
CPU = torch.device("cpu")


def test_tfidf_equals_scikit_learns_cosines() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(TEXTS)
    expected = cosine_similarity(vectors)[0].tolist()
    found = TfidfSimilarity(TEXTS).cosines([TEXTS[0]] * 4, TEXTS)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[0] == 1.0
    assert 1 > found[1] > found[2]
    assert TfidfSimilarity(TEXTS).cosines(["A red circle"], [""]) == [0.0]


def test_an_encoders_states_are_averaged_over_real_tokens(tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = write_scratch_model(
        TEXTS, tmp_path / "m", vocab_size=280, hidden_size=16, layers=1, heads=2, max_positions=64
    )
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vector(text: str) -> torch.Tensor:
        with torch.no_grad():
            return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].double().mean(0)

    expected = [torch.cosine_similarity(vector(TEXTS[0]), vector(text), dim=0).item() for text in TEXTS]
    found = open_text_similarity("encoder", {"model": str(folder)}, [], CPU).cosines([TEXTS[0]] * 4, TEXTS)
    assert found == pytest.approx(expected, abs=2e-6)
    with pytest.raises(UserError, match="holds none of the expected files"):
        EncoderSimilarity(str(tmp_path), None, CPU)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("tfdif", {}, "did you mean 'tfidf'"),
        ("tfidf", {"model": "m"}, "has no option 'model'"),
        ("encoder", {}, "needs a model"),
        ("encoder", {"modle": "m"}, "did you mean 'model'"),
    ],
)
def test_what_cannot_be_opened_is_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_text_similarity(kind, options)
