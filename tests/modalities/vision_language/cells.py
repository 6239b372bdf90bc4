"""Cells made straight from a processor's output, and what a model says of a whole row alone.

Nothing of modalign's own encoding or likelihood is used here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from modalign.core.batch import Candidate, Comparison, Example, PreferenceBatch
from modalign.core.modality import Modality
from modalign.modalities.vision_language.cell import MediaCell
from modalign.modalities.vision_language.collation import collate
from tests.tiny_vlms import EOS

TOKENS = ("input_ids", "attention_mask")
TOKEN_WISE = ("token_type_ids", "mm_token_type_ids", "cross_attention_mask")


def photo(seed: int, width: int = 20, height: int = 20) -> Image.Image:
    pixels = torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


@dataclass(frozen=True)
class Row:
    """A prompt with images before its text, and a response."""

    processor: Any
    images: tuple[Image.Image, ...]
    text: str
    response: str

    @cached_property
    def prompt_text(self) -> str:
        content = [{"type": "image"} for _ in self.images] + [{"type": "text", "text": self.text}]
        return str(
            self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        )

    @cached_property
    def completion_text(self) -> str:
        """From the response to the end of its turn."""
        content = [{"type": "image"} for _ in self.images] + [{"type": "text", "text": self.text}]
        chat = [{"role": "user", "content": content}, {"role": "assistant", "content": self.response}]
        whole = str(self.processor.apply_chat_template(chat))
        assert whole.startswith(self.prompt_text)
        return whole[len(self.prompt_text) :]

    def processed(self, text: str, **more: Any) -> dict[str, Tensor]:
        bos = self.processor.tokenizer.bos_token
        adds_bos = bos is not None and bos not in text
        images = [list(self.images)] if self.images else None
        output = self.processor(text=[text], images=images, return_tensors="pt", add_special_tokens=adds_bos, **more)
        return {name: value for name, value in output.items() if name != "labels"}

    @cached_property
    def whole(self) -> dict[str, Tensor]:
        """The processor's output for prompt and response."""
        if "suffix" in type(self.processor).__call__.__code__.co_varnames:  # PaliGemma's, which adds EOS itself
            return self.processed(self.prompt_text, suffix=[self.completion_text.removesuffix(EOS)])
        return self.processed(self.prompt_text + self.completion_text)

    @cached_property
    def cell(self) -> MediaCell:
        prompt = self.processed(self.prompt_text)
        completion = self.processor.tokenizer(self.completion_text, add_special_tokens=False)["input_ids"]
        vision = {name: value for name, value in prompt.items() if name not in (*TOKENS, *TOKEN_WISE)}
        return MediaCell(
            prompt["input_ids"][0].int(),
            torch.tensor(completion, dtype=torch.int32),
            {name: prompt[name][0] for name in TOKEN_WISE if name in prompt},
            vision,
            str(hash(tuple(image.tobytes() for image in self.images))) if vision else "",
        )

    def direct_logits(self, model: Any) -> Tensor:
        """`(C, V)` logits of the completion's tokens, from a forward over this row alone."""
        size = len(self.cell.completion)
        assert self.whole["input_ids"][0].tolist() == [*self.cell.prompt.tolist(), *self.cell.completion.tolist()]
        return model(**self.whole).logits[0, -size - 1 : -1].float()

    def direct_logps(self, model: Any) -> Tensor:
        """`(C,)` log-probabilities of the completion's tokens."""
        logps = self.direct_logits(model).log_softmax(-1)
        return logps.gather(1, self.cell.completion.long()[:, None])[:, 0]


def batch_of(rows: Sequence[Mapping[str, Row]]) -> PreferenceBatch:
    """A batch of cells by role."""
    examples = [
        Example(
            Comparison(None, tuple(Candidate(row.response, role) for role, row in cells.items())),
            tuple(row.cell for row in cells.values()),
            tuple(len(row.cell.completion) for row in cells.values()),
        )
        for cells in rows
    ]
    return Modality.collate(SimpleNamespace(collate_cells=collate), examples, range(len(rows)))  # type: ignore[arg-type]
