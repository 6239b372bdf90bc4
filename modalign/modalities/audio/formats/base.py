"""What the formats of sounds share."""

from typing import ClassVar

from modalign.plugins.formats.media.base import MediaFormat
from modalign.plugins.formats.media.kind import MediaKind
from modalign.plugins.formats.sounds import SOUND


class AudioFormat(MediaFormat):
    """A format whose responses are sounds and whose prompts are text."""

    modalities: ClassVar[frozenset[str]] = frozenset({"audio", "audio_tokens"})
    kind: ClassVar[MediaKind] = SOUND
    option: ClassVar[str] = "audio"
    known: ClassVar[tuple[str, ...]] = (
        *("audio", "sound", "audio_path", "audio_filepath", "file_name"),
        *("wav", "w64", "flac", "mp3", "ogg", "oga", "opus", "aiff", "aif", "m4a", "aac"),
    )
