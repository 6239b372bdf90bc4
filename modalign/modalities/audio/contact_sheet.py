"""Sounds of policies side by side, as mel spectrograms."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalign.modalities.audio.mel_picture import mel_picture
from modalign.modalities.audio.reading.reader import read_clip
from modalign.modalities.contact_sheet import picture_sheet

WIDTH, HEIGHT = 320, 128


def contact_sheet(prompts: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> Any:
    """A PIL image of mel spectrograms; see `picture_sheet`.

    All have one scale of time, and the names of the columns say how long it is and how high the pitches go.

    Args:
        prompts: One a row.
        columns: For each name, one `Clip` or the `Media` of a sound a prompt.

    Raises:
        UserError: There is nothing to show, or a column has not one sound a prompt.
        RowError: A file is gone or damaged.
    """
    clips = {name: [read_clip(response) for response in responses] for name, responses in columns.items()}
    longest = max((clip.seconds for column in clips.values() for clip in column), default=0.0)
    named = {f"{name}: {longest:.3g} s, {_top(column)}": column for name, column in clips.items()}
    return picture_sheet(prompts, named, (WIDTH, HEIGHT), lambda clip: mel_picture(clip, WIDTH, HEIGHT, longest))


def _top(clips: Sequence[Any]) -> str:
    rate = max((clip.rate for clip in clips), default=0)
    return f"0 to {rate / 2000:.3g} kHz"
