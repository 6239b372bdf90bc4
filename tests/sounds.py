"""Sounds that tests generate: clips of known content, the bytes of files, files in a folder. The same in every run."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.plugins.formats.float_wav import float_wav

RATE = 16000
EVENTS = ("a low tone", "a high tone", "noise", "beeps")
"""What `event` can make; `sequence` puts them one after another."""


def tone(
    frequency: float = 440.0, seconds: float = 0.5, rate: int = RATE, level: float = 0.5, channels: int = 1
) -> Clip:
    """A sine of amplitude `level`, the same in all channels, beginning at phase 0."""
    return _clip(level * np.sin(2 * np.pi * frequency * _times(seconds, rate)), rate, channels)


def chirp(
    first: float = 200.0,
    last: float = 2000.0,
    seconds: float = 0.5,
    rate: int = RATE,
    level: float = 0.5,
    channels: int = 1,
) -> Clip:
    """A sine whose frequency rises or falls linearly."""
    times = _times(seconds, rate)
    return _clip(level * np.sin(2 * np.pi * (first + (last - first) * times / (2 * seconds)) * times), rate, channels)


def noise(seconds: float = 0.5, rate: int = RATE, level: float = 0.1, channels: int = 1, seed: int = 0) -> Clip:
    """White Gaussian noise with a standard deviation of `level`; every channel has its own, within full scale."""
    drawn = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))
    return Clip(torch.from_numpy(np.clip(level * drawn, -1, 1)).float(), rate)


def silence(seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> Clip:
    return Clip(torch.zeros(channels, round(seconds * rate)), rate)


def beeps(
    frequency: float = 1000.0, seconds: float = 0.5, rate: int = RATE, level: float = 0.5, count: int = 4
) -> Clip:
    """A tone that is on and off `count` times."""
    times = _times(seconds, rate)
    sounding = (times * 2 * count / seconds).astype(int) % 2 == 0
    return _clip(level * sounding * np.sin(2 * np.pi * frequency * times), rate, 1)


def event(name: str, seconds: float = 0.5, rate: int = RATE, level: float = 0.5, seed: int = 0) -> Clip:
    """One of `EVENTS`; all of them fit rates from 8000 on."""
    makers = {
        "a low tone": lambda: tone(300.0, seconds, rate, level),
        "a high tone": lambda: tone(2400.0, seconds, rate, level),
        "noise": lambda: noise(seconds, rate, level / 4, seed=seed),
        "beeps": lambda: beeps(1000.0, seconds, rate, level),
    }
    return makers[name]()


def sequence(names: Sequence[str], seconds: float = 0.5, rate: int = RATE, gap: float = 0.0, seed: int = 0) -> Clip:
    """Events one after another, each `seconds` long, with `gap` seconds of silence between them."""
    parts: list[Clip] = []
    for number, name in enumerate(names):
        if number and gap:
            parts.append(silence(gap, rate))
        parts.append(event(name, seconds, rate, seed=seed))
    return joined(*parts)


def caption(names: Sequence[str]) -> str:
    """What a sequence of events is called, such as "a low tone then noise"."""
    return " then ".join(names)


def joined(*clips: Clip) -> Clip:
    """Clips of one rate and number of channels, one after another."""
    return Clip(torch.cat([clip.samples for clip in clips], 1), clips[0].rate)


def stereo(left: Clip, right: Clip) -> Clip:
    return Clip(torch.cat([left.samples, right.samples]), left.rate)


def encoded(clip: Clip, format: str = "WAV", subtype: str | None = None) -> bytes:
    """The bytes of a file.

    Args:
        clip: What it holds.
        format: WAV, FLAC, OGG, MP3, AIFF, ...
        subtype: PCM_16, PCM_24, PCM_32, FLOAT, VORBIS, ...; the format's usual one where None.
    """
    if (format, subtype) == ("WAV", "FLOAT"):
        return float_wav(clip.samples.numpy(), clip.rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, clip.samples.numpy().T, clip.rate, format=format, subtype=subtype)
    return buffer.getvalue()


def media(clip: Clip, format: str = "WAV", subtype: str | None = "FLOAT", name: str = "") -> Media:
    """A clip as the data holds it; float WAV, which keeps every sample, where nothing else is asked for."""
    return Media(name, encoded(clip, format, subtype if format == "WAV" else None))


def save(clip: Clip, path: Path, subtype: str | None = None) -> Path:
    """A file in the format that its suffix names (.wav, .flac, .ogg, .mp3); folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(clip, path.suffix[1:].upper(), subtype))
    return path


def pair_rows(
    folder: Path, count: int = 4, seconds: float = 0.5, rate: int = RATE, suffix: str = ".wav"
) -> list[dict[str, Any]]:
    """Rows of audio_pairs with files beside them: two events in the prompt's order are chosen, the reverse rejected.

    Args:
        folder: Where `sounds/` with the files is made.
        count: How many rows.
        seconds: How long each event is; clips are twice as long.
        rate: Of the files.
        suffix: .wav, .flac, .ogg or .mp3.
    """
    rows = []
    for number in range(count):
        first, second = EVENTS[number % 4], EVENTS[(number + 1 + number // 4 % 3) % 4]
        row: dict[str, Any] = {"prompt": caption([first, second])}
        for role, names in (("chosen", (first, second)), ("rejected", (second, first))):
            name = f"sounds/{role}{number}{suffix}"
            save(sequence(names, seconds, rate, seed=number), folder / name)
            row[role] = name
        rows.append(row)
    return rows


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs_file(folder: Path, count: int = 4, seconds: float = 0.5, rate: int = RATE) -> Path:
    """`pair_rows` as `folder/pairs.jsonl`, to be trained on."""
    return write_jsonl(folder / "pairs.jsonl", pair_rows(folder, count, seconds, rate))


def _times(seconds: float, rate: int) -> np.ndarray:
    return np.arange(round(seconds * rate)) / rate


def _clip(samples: np.ndarray, rate: int, channels: int) -> Clip:
    return Clip(torch.from_numpy(samples).float().repeat(channels, 1), rate)
