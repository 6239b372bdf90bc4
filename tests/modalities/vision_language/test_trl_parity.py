"""TRL's vision collator and DPO loss, on the families that it runs."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from modalign.core.batch import CHOSEN, REJECTED
from modalign.core.objectives.base import Needs
from modalign.modalities.vision_language.likelihood import media_text_likelihood
from tests.modalities.vision_language.cells import Row, batch_of, photo

BETA = 0.3
NOT_RUN_BY_TRL = ("paligemma", "mllama")
"""Its collator passes completions through PaliGemma's processor, which wants images; Mllama's mask stays too short."""


@pytest.fixture
def pairs(processor_of: Callable[[str], Any], family: str) -> list[dict[str, Row]]:
    processor = copy.copy(processor_of(family))
    if processor.tokenizer.bos_token and not processor.chat_template.startswith("{{ bos_token }}"):
        # TRL leaves BOS out where the template does not write it.
        processor.chat_template = "{{ bos_token }}" + processor.chat_template
    shown = (
        (photo(0, 20, 20), "What is it?", "A red circle", "Two blue squares"),
        (photo(1, 40, 18), "Where?", "left", "on the right"),
    )
    return [
        {CHOSEN: Row(processor, (image,), question, good), REJECTED: Row(processor, (image,), question, bad)}
        for image, question, good, bad in shown
    ]


def collated_by_trl(pairs: list[dict[str, Row]]) -> dict[str, Tensor]:
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    rows = [
        {
            "images": list(pair[CHOSEN].images),
            "prompt": [{"role": "user", "content": pair[CHOSEN].text}],
            **{role: [{"role": "assistant", "content": pair[role].response}] for role in (CHOSEN, REJECTED)},
        }
        for pair in pairs
    ]
    return dict(DataCollatorForVisionPreference(pairs[0][CHOSEN].processor)(rows))


def logps_by_trl(model: Any, pairs: list[dict[str, Row]]) -> Tensor:
    """`(B, 2)`, as TRL's trainer sums them."""
    inputs = collated_by_trl(pairs)
    scored = inputs.pop("completion_mask")[:, 1:].bool()
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    logps = logits.log_softmax(-1).gather(-1, inputs["input_ids"][:, 1:, None])[..., 0]
    return (logps * scored).sum(1).view(2, -1).T


def dpo(logps: Tensor, reference: Tensor) -> Tensor:
    margins = (logps - reference.detach()) @ torch.tensor([1.0, -1.0])
    return -logsigmoid(BETA * margins).mean()


def test_log_probabilities_loss_and_gradients(
    family: str, model_of: Callable[[str], Any], pairs: list[dict[str, Row]]
) -> None:
    if family in NOT_RUN_BY_TRL:
        pytest.skip("TRL does not run this family")
    model, batch = model_of(family), batch_of(pairs)
    theirs = logps_by_trl(model, pairs)
    ours = media_text_likelihood(model, batch, Needs(), 512).logps
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)
    reference = theirs + torch.tensor([[0.5, -0.2], [0.1, 0.3]])
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    losses = dpo(ours, reference), dpo(theirs, reference)
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
    gradients = (torch.autograd.grad(loss, weights, allow_unused=True) for loss in losses)
    for mine, other in zip(*gradients, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(mine, other, atol=2e-4 * max(1.0, float(other.abs().max())), rtol=1e-3)
