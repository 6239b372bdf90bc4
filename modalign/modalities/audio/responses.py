"""What all modalities that generate sound do with one: write it, hand it to loggers, show and describe it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from modalign.core.modality import Modality
from modalign.modalities.audio.reading.loudness import peak_of
from modalign.modalities.audio.reading.reader import read_clip, sound_info
from modalign.modalities.audio.reading.writing import write_wav


class SoundResponses(Modality):
    """The half of a modality whose responses are a `Clip` or the `Media` of a sound's file."""

    def save(self, response: Any, stem: Path) -> Path:
        """See `Modality.save`: a WAV file.

        Of 16 bits, but 32-bit floats where a sample is beyond full scale: integers would clip it, and whoever reads the
        file, a reward or a training run, would be given another sound than the policy made.
        """
        clip = read_clip(response)
        path = stem.with_name(f"{stem.name}.wav")
        write_wav(clip, path, "PCM_16" if peak_of(clip) <= 1 else "FLOAT")
        return path

    def sound(self, response: Any) -> tuple[Tensor, int]:
        """See `Modality.sound`."""
        clip = read_clip(response)
        return clip.samples, clip.rate

    def contact_sheet(self, prompts: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> Any:
        """See `Modality.contact_sheet`: mel spectrograms."""
        from modalign.modalities.audio.contact_sheet import contact_sheet

        return contact_sheet(prompts, columns)

    def preview(self, prompt: Any, response: Any) -> str:
        """See `Modality.preview`."""
        info = sound_info(response)
        layout = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
        return f"{prompt} ({info.seconds:.2f} seconds, {info.rate} Hz, {layout})"
