"""A clip of a wanted length: cropped, padded or repeated."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator
from torch.nn.functional import pad

from modalign.core.errors import RowError
from modalign.modalities.audio.clip import Clip

Crop = Literal["start", "center", "random"]
Short = Literal["pad", "loop", "error"]


@dataclass(frozen=True)
class Fitted:
    """A clip of the wanted length.

    Attributes:
        clip: With exactly the frames that were asked for.
        sounding: How many of its first frames are sound; the rest is silence that was put there.
    """

    clip: Clip
    sounding: int


def first_frame(frames: int, wanted: int, crop: Crop, generator: Generator | None = None) -> int:
    """Where in a sound of `frames` a part of `wanted` begins; 0 where the sound is no longer than that.

    Args:
        frames: Of the sound.
        wanted: Of the part.
        crop: Where the part is taken from.
        generator: Where `random` draws from: every place is as likely. The others need none.
    """
    spare = max(frames - wanted, 0)
    if crop == "start" or not spare:
        return 0
    if crop == "center":
        return spare // 2
    return int(torch.randint(spare + 1, (), generator=generator))


def fitted(clip: Clip, frames: int, crop: Crop, short: Short, generator: Generator | None = None) -> Fitted:
    """A clip of exactly so many frames.

    Args:
        clip: At its final rate.
        frames: How many are wanted.
        crop: Which part of a longer clip is taken; see `first_frame`.
        short: What becomes of a shorter one: `pad` puts silence after it, `loop` repeats it from its beginning, and
            `error` refuses it.
        generator: Where `crop: random` draws from.

    Raises:
        RowError: It is too short, and `short` is `error`.
    """
    found = clip.samples.shape[1]
    if found >= frames:
        first = first_frame(found, frames, crop, generator)
        return Fitted(Clip(clip.samples[:, first : first + frames], clip.rate), frames)
    if short == "error":
        raise RowError(
            f"the sound is too short: {found / clip.rate:.3f} seconds, and {frames / clip.rate:.3f} are wanted",
            "Remove the row, or set the modality's short: pad or loop.",
        )
    if short == "loop":
        repeated = clip.samples.repeat(1, -(-frames // found))
        return Fitted(Clip(repeated[:, :frames], clip.rate), frames)
    return Fitted(Clip(pad(clip.samples, (0, frames - found)), clip.rate), found)
