"""How far a sound stands above its noise."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from modalign.core.errors import ConfigError, RowError, did_you_mean
from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.heard import Samples, SoundReward, mono

Measure = Literal["snr", "si_sdr"]

MOST = 100.0
"""Decibels: what is further above its noise, or below it, counts as this far."""
_FRAME = 0.02
_QUIET_SHARE = 0.1


class Snr(SoundReward):
    """Signal to noise in decibels, from -100 to 100; -100 where nothing is heard. Channels are mixed to one.

    Without references it is an estimate: the noise is what is left in the quietest tenth of all frames of 20 ms, the
    signal what the whole sound has more than that, `10 log10((mean power - noise) / noise)`. It is right where noise
    is steady and the sound pauses, if only for a tenth of the time; a steady sound without a pause is taken for noise.

    With references it is measured against the sound that a file gives for the same prompt: everything that differs is
    noise. What is shorter than its reference is followed by silence, what is longer is cut.

    Args:
        references: A JSON Lines, CSV or Parquet file, or a folder of them, with prompts and sounds.
        prompt_column: Where its prompts are.
        sound_column: Where its sounds are: files, relative to the folder of the file.
        measure: With references: `snr`, or `si_sdr`, which a gain does not change (Le Roux et al., arXiv 1811.02508).

    Raises:
        ConfigError: The measure is unknown, or not the default and without references.
    """

    name: ClassVar[str] = "snr"

    def __init__(
        self,
        references: Path | None = None,
        prompt_column: str = "prompt",
        sound_column: str = "audio",
        measure: Measure = "snr",
    ) -> None:
        if measure not in get_args(Measure):
            raise ConfigError(f"snr: measure is {measure!r}.", did_you_mean(str(measure), get_args(Measure)))
        given = {"prompt_column": prompt_column != "prompt", "sound_column": sound_column != "audio"}
        idle = [name for name, changed in {**given, "measure": measure != "snr"}.items() if changed]
        if references is None and idle:
            raise ConfigError(f"snr: {' and '.join(idle)} have no effect without references.", "Remove them.")
        self.references, self.measure = references, measure
        self.prompt_column, self.sound_column = prompt_column, sound_column

    def check_prompts(self, prompts: Sequence[Any]) -> None:
        """See `Reward.check_prompts`.

        Raises:
            UserError: The references cannot be read.
            RowError: A prompt has no reference, or a row of the references cannot be used.
        """
        for prompt in prompts if self.references is not None else ():
            self._reference(prompt)

    def judge(self, prompt: Any, clip: Clip) -> float:
        found = _estimate(mono(clip), clip.rate) if self.references is None else self._compared(prompt, clip)
        return min(max(found, -MOST), MOST)

    def unheard(self, prompt: Any) -> float:
        return -MOST

    def _compared(self, prompt: Any, clip: Clip) -> float:
        from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

        from modalign.modalities.audio.reading.length import fitted
        from modalign.modalities.audio.reading.reader import read_clip
        from modalign.modalities.audio.reading.resampling import resampled, with_channels

        wanted = with_channels(read_clip(self._reference(prompt)), 1)
        found = fitted(resampled(with_channels(clip, 1), wanted.rate), wanted.samples.shape[1], "pad").clip
        ratio = signal_noise_ratio if self.measure == "snr" else scale_invariant_signal_distortion_ratio
        decibels = float(ratio(found.samples.double(), wanted.samples.double())[0])
        return decibels if np.isfinite(decibels) else -MOST

    def _reference(self, prompt: Any) -> Media:
        if prompt not in self._sounds:
            raise RowError(f"no reference for a prompt: {prompt!r} is not in {self.references}", "Add it.", "prompt")
        return self._sounds[prompt]

    @cached_property
    def _sounds(self) -> dict[str, Media]:
        """The reference of each prompt.

        Raises:
            UserError: The file cannot be read.
            RowError: A row has no prompt or names no file, or a prompt comes twice.
        """
        from modalign.core.sources import open_rows

        path = self.references or Path()
        sounds: dict[str, Media] = {}
        for number, row in enumerate(row for _, row in open_rows(path).rows()):
            if isinstance(row, RowError):
                raise row
            for column in (self.prompt_column, self.sound_column):
                if not (isinstance(row.get(column), str) and row[column]):
                    raise RowError("there is no text", did_you_mean(column, row), column).at(str(path), number)
            prompt = row[self.prompt_column]
            if prompt in sounds:
                raise RowError(f"a prompt has two references: {prompt!r}", "Leave one.").at(str(path), number)
            sounds[prompt] = Media(row[self.sound_column]).located(path if path.is_dir() else path.parent)
        return sounds


def _estimate(samples: Samples, rate: int) -> float:
    """Decibels by the quietest frames."""
    size = min(max(round(_FRAME * rate), 1), len(samples))
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.sort((frames**2).mean(axis=1))
    noise = power[: max(round(_QUIET_SHARE * len(power)), 1)].mean()
    signal = power.mean() - noise
    if signal <= 0:
        return -MOST
    return float(10 * np.log10(signal / noise)) if noise > 0 else MOST
