"""Captions that say something else."""

from pathlib import Path
from typing import Any

import pytest

from modalign.core.errors import UserError
from modalign.modalities.audio.build.rewriting import INSTRUCTIONS, Change, ModelRewriter, RuleRewriter

PROMPTS = ["A dog barks then rain", "A bell", "Wind and birds", "After rain, a dog barks"]


@pytest.mark.parametrize("change", ["perturbed", "temporal"])
def test_captions_differ_and_depend_on_seed_and_caption_alone(change: Change) -> None:
    rules = RuleRewriter(PROMPTS)
    found = rules.rewritten(PROMPTS, change, 3, seed=1)
    for prompt, captions in zip(PROMPTS, found, strict=True):
        assert prompt not in captions
        assert len(set(captions)) == len(captions) <= 3
        assert rules.rewritten([prompt], change, 3, seed=1) == [captions]
    if change == "temporal":
        assert found == [["Rain then a dog barks"], [], [], ["Before rain, a dog barks"]]
    else:
        assert [len(captions) for captions in found] == [3, 1, 3, 0]
        assert any(rules.rewritten(PROMPTS, change, 3, seed=seed) != found for seed in range(2, 9))


def test_a_single_caption_has_nothing_to_be_replaced_by() -> None:
    assert RuleRewriter(["A bell"]).rewritten(["A bell"], "perturbed", 2, seed=0) == [[]]


class Answers:
    """Stands for a language model."""

    def sample(self, model: Any, prompts: Any, n: int, seed: int, **options: Any) -> list[list[Any]]:
        self.asked, self.options = prompts, options
        said = ['\n "A cat meows then rain"\nHope it helps!', "A dog barks THEN rain", "", "A cat meows then rain"]
        return [[[{"role": "assistant", "content": text}] for text in said[:n]] for _ in prompts]


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("<think>\nRain, or wind?\n</think>\n\nA bell then rain", "A bell then rain"),
        ("Rain, or wind?\n</think>\nA bell then rain", "A bell then rain"),  # the template has opened it
        ("<think>\nRain, or", None),
        ("\n", None),
    ],
)
def test_only_what_an_answer_says_is_a_caption(answer: str, caption: str | None) -> None:
    class Thinks:
        def sample(self, *args: Any, **options: Any) -> list[list[str]]:
            return [[answer]]

    rewriter = ModelRewriter(Thinks(), lambda: None, INSTRUCTIONS, {})  # type: ignore[arg-type, return-value]
    assert rewriter.rewritten(["A bell"], "temporal", 1, seed=0) == [[caption] if caption else []]


def test_a_language_model_is_asked() -> None:
    answers = Answers()
    rewriter = ModelRewriter(answers, lambda: None, INSTRUCTIONS, {"max_new_tokens": 9})  # type: ignore[arg-type, return-value]
    assert rewriter.rewritten(PROMPTS[:1], "temporal", 4, seed=0) == [["A cat meows then rain"]]
    ((message,),) = answers.asked
    assert message["content"].endswith("\n\nA dog barks then rain")
    assert "another order" in message["content"]
    assert answers.options == {"max_new_tokens": 9}


def test_an_instruction_without_a_place_for_the_caption_is_refused() -> None:
    with pytest.raises(UserError, match=r"no \{prompt\}"):
        ModelRewriter(Answers(), lambda: None, {**INSTRUCTIONS, "temporal": "Rewrite it."}, {})  # type: ignore[arg-type, return-value]


def test_a_real_language_model_answers(tiny_model: Path) -> None:
    from modalign.modalities.text.modality import Text

    text = Text(str(tiny_model), max_length=None)
    policy = text.load().eval()
    rewriter = ModelRewriter(text, lambda: policy, dict.fromkeys(INSTRUCTIONS, "Not {prompt}"), {"max_new_tokens": 4})
    (captions,) = rewriter.rewritten(["A bell"], "perturbed", 2, seed=0)
    assert len(captions) <= 2
    assert captions == rewriter.rewritten(["A bell"], "perturbed", 2, seed=0)[0]
