"""One encoded candidate of a comparison whose prompt holds media."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from modalign.modalities.text.encoding import TextCell


@dataclass(frozen=True, eq=False)
class MediaCell(TextCell):
    """Tokens, and whatever else the processor returned for the prompt.

    Attributes:
        token_wise: By the processor's key, `(P, ...)` values of the prompt's tokens, such as `token_type_ids`.
        media: By the processor's key, tensors of this prompt's media as the processor returned them for this prompt
            alone (their first dimension may count images, tiles, patches or sounds); empty for a prompt of text alone.
        media_key: A hash of what the media are made from, and so of `media`: cells with equal keys have their media
            encoded once. Empty without media.
    """

    token_wise: Mapping[str, Tensor] = field(default_factory=dict)
    media: Mapping[str, Tensor] = field(default_factory=dict)
    media_key: str = ""

    def content_key(self) -> tuple[Any, ...]:
        """What `content_hash` hashes: the key stands for the media's tensors, which are large."""
        return self.prompt, self.completion, self.corrected, self.token_wise, self.media_key
