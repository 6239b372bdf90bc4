"""Sounds with captions, to imitate: the data of supervised fine-tuning."""

from typing import ClassVar

from modalign.modalities.audio.formats.base import AudioFormat
from modalign.plugins.formats.media.captions import MediaCaptions


class AudioCaptions(MediaCaptions, AudioFormat):
    """`prompt` (or `caption`, `text`) with one `audio` (or `sound`, `audio_path`, `file_name`, `wav`, `flac`, ...).

    A sound is a path, the bytes of a file, a mapping with either (and with `start` and `seconds` or `end` for a part of
    it) or with `array` and `sampling_rate`, or base64 text.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        audio: The column with the sound, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
    """

    name = "audio_captions"
    wants: ClassVar[str] = "prompt (or caption), text; audio (or sound, file_name, wav); no label, chosen or rejected"

    def __init__(
        self,
        prompt: str | None = None,
        audio: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(root, weight, prompt=prompt, audio=audio)
