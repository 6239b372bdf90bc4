"""Generating from prompts with media, in batches that the model's own processor makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modalign.modalities.modes import unwrapped
from modalign.modalities.text.generation import Inputs, Prompted
from modalign.modalities.vision_language.tokenization import PROCESSOR_ERRORS, MediaPrompt, MediaTokenizer

_PLACEHOLDERS = ("image_token_id", "image_token_index", "video_token_id", "video_token_index", "audio_token_id")


def media_prompt(prompt: MediaPrompt) -> Prompted:
    """A prompt whose draws depend on its tokens and on its media."""
    ids = ",".join(map(str, prompt.ids))
    return Prompted(prompt.ids, f"{ids};{prompt.media_key}" if prompt.media_key else ids, prompt)


def never_said(tokens: MediaTokenizer, model: nn.Module) -> list[int]:
    """The tokens that stand for media: a model that says one would look for a medium that is not there."""
    config = unwrapped(model).config
    named = {getattr(config, name, None) for name in _PLACEHOLDERS}
    return sorted(tokens.placeholder_ids | {token for token in named if isinstance(token, int)})


@dataclass(frozen=True)
class ProcessedBatches:
    """Lays prompts out as batches, padded on the left.

    Prompts with equally many media are together: many processors take no prompts without media among others, and in
    Mllama what stands before an image sees the padding of the others' images. Where a processor refuses a batch, or
    makes other tokens of a prompt than it does alone, each of its prompts is a batch.

    Args:
        tokens: Encoded the prompts.
    """

    tokens: MediaTokenizer

    def __call__(self, prompts: Sequence[Prompted]) -> Iterator[tuple[Sequence[int], Inputs]]:
        """See `modalign.modalities.text.generation.LayOut`."""
        kinds: dict[tuple[int, bool], list[int]] = {}
        for place, prompted in enumerate(prompts):
            kinds.setdefault((len(prompted.content.opened), prompted.content.special), []).append(place)
        for places in kinds.values():
            chosen = [prompts[place].content for place in places]
            inputs = _alone(chosen[0]) if len(chosen) == 1 else self._together(chosen)
            if inputs is not None:
                yield places, inputs
            else:
                yield from (([place], _alone(prompt)) for place, prompt in zip(places, chosen, strict=True))

    def _together(self, prompts: Sequence[MediaPrompt]) -> Inputs | None:
        """The processor's batch; None where it makes none, or another one."""
        media = self.tokens.medium.arguments([prompt.opened for prompt in prompts])
        try:
            batch: Any = self.tokens.processor(
                text=[prompt.processed_text for prompt in prompts],
                add_special_tokens=prompts[0].special,
                return_tensors="pt",
                **self.tokens.medium.padding({"padding": True, "padding_side": "left"}),
                **media,
            )
        except PROCESSOR_ERRORS:
            return None
        rows = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        if [ids[mask].tolist() for ids, mask in rows] != [list(prompt.ids) for prompt in prompts]:
            return None
        return {name: value for name, value in batch.items() if name != "labels" and isinstance(value, Tensor)}


def _alone(prompt: MediaPrompt) -> Inputs:
    """What the processor made of one prompt."""
    ids = torch.tensor([list(prompt.ids)])
    token_wise = {name: value[None] for name, value in prompt.token_wise.items()}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **token_wise, **prompt.media}
