"""What the formats share whose prompts hold sounds and whose responses are text."""

from collections.abc import Sequence
from typing import ClassVar

from modalign.modalities.vision_language.formats.base import MediaPromptFormat
from modalign.plugins.formats.media.kind import MediaKind
from modalign.plugins.formats.sounds import SOUND


class HeardFormat(MediaPromptFormat):
    """A format of audio-language data; see `MediaPromptFormat` for its arguments."""

    modalities: ClassVar[frozenset[str]] = frozenset({"audio_language"})
    kind: ClassVar[MediaKind] = SOUND

    def called(self, before: str = "") -> Sequence[str]:
        """See `MediaPromptFormat.called`."""
        return f"{before}audios", f"{before}audio", f"{before}audio_path", f"{before}sound"
