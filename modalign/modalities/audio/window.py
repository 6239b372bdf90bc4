"""From a sound of any length, rate and channels to the window that a model is trained on."""

from dataclasses import dataclass
from math import ceil
from typing import Any

from torch import Tensor

from modalign.core.errors import RowError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.decoders import naming
from modalign.modalities.audio.reading.length import Crop, Short, fitted
from modalign.modalities.audio.reading.loudness import normalised
from modalign.modalities.audio.reading.reader import read_clip, sound_info
from modalign.modalities.audio.reading.resampling import resampled, with_channels

LONGEST_WHOLE = 300.0
"""Up to how many seconds a sound may last that is decoded whole, for a crop at random."""

MARGIN = 0.01
"""How many seconds before and after the window are decoded too, so that resampling has all the samples it needs."""


@dataclass(frozen=True)
class Window:
    """What of a sound is trained on.

    Attributes:
        rate: Frames a second that the model works at.
        channels: 1 for mono, 2 for stereo.
        samples: How long the window is, at that rate.
        step: The samples of one latent step: a sound that is shorter than the window by less is not refused, and one
            that is longer by less does not count as cut.
        crop: Which part of a longer sound it is; `random` is drawn anew in each epoch.
        short: What becomes of a shorter sound.
        peak: The largest absolute sample that the part is brought to; None leaves it as it is.
        loudness: The loudness that the part is brought to, in LUFS; None leaves it as it is.
    """

    rate: int
    channels: int
    samples: int
    step: int
    crop: Crop = "start"
    short: Short = "pad"
    peak: float | None = None
    loudness: float | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples / self.rate

    def is_whole(self, response: Any) -> bool:
        """Whether all of a sound is in the window; its header alone is looked at.

        A longer sound is not whole for a crop at random either: other epochs draw other parts of it, but each trains on
        no more than one.

        Raises:
            RowError: It cannot be read.
        """
        info = sound_info(response)
        return ceil(info.frames * self.rate / info.rate) - self.samples < self.step

    def read(self, response: Any) -> tuple[Tensor, tuple[float, ...]]:
        """Decode a sound, no more of it than is wanted.

        Args:
            response: A `Media` or `Clip`.

        Returns:
            As `cut` does; for a crop at random the whole sound, `(channels, frames)`, of which nothing is known yet.

        Raises:
            RowError: It cannot be read, or is too short or too long for the options; the message names the file.
        """
        with naming(response):
            return self._whole(response) if self.crop == "random" else self._part(response)

    def _whole(self, response: Any) -> tuple[Tensor, tuple[float, ...]]:
        self._check_length(response)
        samples = self._converted(read_clip(response)).samples
        if self.short == "error":
            self.cut(samples, 0.0)  # refused here, where rows can be left out, rather than as a batch is made
        return samples, ()

    def _part(self, response: Any) -> tuple[Tensor, tuple[float, ...]]:
        start = max(sound_info(response).seconds - self.seconds, 0.0) / 2 if self.crop == "center" else 0.0
        before = min(start, MARGIN)
        clip = self._converted(read_clip(response, start - before, before + self.seconds + MARGIN))
        return self._shaped(Clip(clip.samples[:, round(before * self.rate) :], self.rate))

    def cut(self, media: Tensor, place: float) -> tuple[Tensor, tuple[float, ...]]:
        """The window out of what `read` made for a crop at random.

        Args:
            media: `(channels, frames)`.
            place: Where in the free space it begins, in [0, 1).

        Returns:
            `(channels, samples)` float32, and from which to which second of the window there is sound.

        Raises:
            RowError: The sound is too short, and the options refuse such.
        """
        first = int(place * (max(media.shape[1] - self.samples, 0) + 1))
        return self._shaped(Clip(media[:, first:], self.rate))

    def _converted(self, clip: Clip) -> Clip:
        return resampled(with_channels(clip, self.channels), self.rate)

    def _shaped(self, clip: Clip) -> tuple[Tensor, tuple[float, ...]]:
        """The first `samples` of a clip, normalised before silence is put to them."""
        part = normalised(Clip(clip.samples[:, : self.samples], clip.rate), loudness=self.loudness, peak=self.peak)
        nearly = self.samples - part.samples.shape[1] < self.step
        short: Short = "pad" if nearly and self.short == "error" else self.short
        found = fitted(part, self.samples, short)
        return found.clip.samples.contiguous(), (0.0, found.sounding / self.rate)

    def _check_length(self, response: Any) -> None:
        seconds = sound_info(response).seconds
        if seconds > LONGEST_WHOLE:
            raise RowError(
                f"the sound is too long for a crop at random: {seconds:.0f} seconds are decoded whole in each epoch, "
                f"and at most {LONGEST_WHOLE:g} are",
                "Set modality.crop: start or center, or give slices of it (path, start and seconds).",
            )
