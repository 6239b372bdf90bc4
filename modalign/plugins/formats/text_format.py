"""What the formats of text share: they tell where rows hold images, which they do not read."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from modalign.core.errors import ConfigError
from modalign.core.format import Format
from modalign.core.modality import Modality
from modalign.plugins.formats.images import image_columns


class TextFormat(Format):
    """A format whose prompts and responses are text or conversations.

    A modality of text is warned of images beside them. One that only borrows the formats of text, as vision-language
    models do for rows without images, is refused such rows: it would answer questions on images that it is not shown.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})

    def resolve(self, columns: Mapping[str, Any], source: str, modality: Modality | None = None) -> Format:
        """See `Format.resolve`.

        Raises:
            ConfigError: The responses are not of this modality, or there are images that it should see.
        """
        super().resolve(columns, source, modality)
        images = image_columns(columns)
        if modality is None or not images:
            return self
        held = f"{source} holds images ({', '.join(images)}), and the format {self.name!r} reads none"
        if modality.name not in self.modalities:
            raise ConfigError(
                f"{held}.",
                f"Name a format of {modality.name} in data.format, with the names of columns as its options where they "
                "are others (vision_preference has them for pairs); for text alone, remove the column.",
            )
        warnings.warn(f"{held}: they are ignored.", stacklevel=2)
        return self
