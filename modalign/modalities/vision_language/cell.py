"""One encoded candidate of a vision-language comparison."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from modalign.modalities.text.encoding import TextCell


@dataclass(frozen=True, eq=False)
class VisionCell(TextCell):
    """Tokens, and whatever else the processor returned for the prompt.

    Attributes:
        token_wise: By the processor's key, `(P, ...)` values of the prompt's tokens, such as `token_type_ids`.
        vision: By the processor's key, tensors of this prompt's images as the processor returned them for this prompt
            alone (their first dimension may count images, tiles or patches); empty for a prompt without images.
        vision_key: A hash of what the images are made from, and so of `vision`: cells with equal keys have their images
            encoded once. Empty without images.
    """

    token_wise: Mapping[str, Tensor] = field(default_factory=dict)
    vision: Mapping[str, Tensor] = field(default_factory=dict)
    vision_key: str = ""

    def content_key(self) -> tuple[Any, ...]:
        """What `content_hash` hashes: the key stands for the images' tensors, which are large."""
        return self.prompt, self.completion, self.corrected, self.token_wise, self.vision_key
