"""What the formats of text share: they tell where rows hold images or sounds, which they do not read."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from modalign.core.errors import ConfigError
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.plugins.formats.images import image_columns
from modalign.plugins.formats.sounds import sound_columns


class TextFormat(Format):
    """A format whose prompts and responses are text or conversations.

    A modality of text is warned of media beside them. One that only borrows the formats of text, as vision-language
    models do for rows without images, is refused such rows: it would answer questions on what it is not shown.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        """See `Format.resolve`.

        Raises:
            ConfigError: The responses are not of this modality, or there are media that it should see or hear.
        """
        super().resolve(columns, source, modality)
        sounds = sound_columns(columns)
        images = [name for name in image_columns(columns) if name not in sounds]
        if modality is None or not (images or sounds):
            return self
        found = f"images ({', '.join(images)})" if images else f"sounds ({', '.join(sounds)})"
        held = f"{source} holds {found}, and the format {self.name!r} reads none"
        if modality.name not in self.modalities:
            raise ConfigError(
                f"{held}.",
                f"Name a format of {modality.name} in data.format, with the names of columns as its options where they "
                "are others (vision_preference and heard_preference have them for pairs); for text alone, remove the "
                "column.",
            )
        warnings.warn(f"{held}: they are ignored.", stacklevel=2)
        return self
