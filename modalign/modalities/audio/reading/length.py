"""A clip of a wanted length: cut, padded or repeated."""

from dataclasses import dataclass
from typing import Literal

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


def fitted(clip: Clip, frames: int, short: Short) -> Fitted:
    """A clip of exactly so many frames.

    Args:
        clip: At its final rate.
        frames: How many are wanted; the first ones of a longer clip.
        short: What becomes of a shorter one: `pad` puts silence after it, `loop` repeats it from its beginning, and
            `error` refuses it.

    Raises:
        RowError: It is too short, and `short` is `error`.
    """
    found = clip.samples.shape[1]
    if found >= frames:
        return Fitted(Clip(clip.samples[:, :frames], clip.rate), frames)
    if short == "error":
        raise RowError(
            f"the sound is too short: {found / clip.rate:.3f} seconds, and {frames / clip.rate:.3f} are wanted",
            "Remove the row, or set the modality's short: pad or loop.",
        )
    if short == "loop":
        repeated = clip.samples.repeat(1, -(-frames // found))
        return Fitted(Clip(repeated[:, :frames], clip.rate), frames)
    return Fitted(Clip(pad(clip.samples, (0, frames - found)), clip.rate), found)
