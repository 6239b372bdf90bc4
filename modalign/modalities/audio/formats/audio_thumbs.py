"""Single sounds with a label: thumbs up or down."""

from typing import ClassVar

from modalign.modalities.audio.formats.base import AudioFormat
from modalign.plugins.formats.media.thumbs import MediaThumbs


class AudioThumbs(MediaThumbs, AudioFormat):
    """`prompt` (or `caption`), one `audio` and `label`: true for good, false for bad (or 1 and 0).

    A sound is written as for `audio_captions`. Where columns have types, text is never a label: "false" counts as true
    in Python. In CSV and in the text members of webdataset shards, "true", "false", "1" and "0" are labels.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        audio: The column with the sound, where it is called otherwise.
        label: The column with the label, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
    """

    name = "audio_thumbs"
    wants: ClassVar[str] = "prompt (or caption), text; audio (or sound, file_name, wav); label, true or false"

    def __init__(
        self,
        prompt: str | None = None,
        audio: str | None = None,
        label: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(root, weight, prompt=prompt, audio=audio, label=label)
