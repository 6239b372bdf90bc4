"""Single answers with a label to prompts with sounds: thumbs up or down."""

from typing import ClassVar

from modalign.modalities.audio.formats.heard import HeardFormat
from modalign.modalities.vision_language.formats.unpaired import MediaUnpaired


class HeardUnpaired(MediaUnpaired, HeardFormat):
    """`prompt` and `completion`, text or conversations; `label`, true or false; and `audios`, a list, or `audio`.

    Sounds are written and placed as for `heard_preference`.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        completion: The column with the response, where it is called otherwise.
        label: The column with the label, where it is called otherwise.
        audios: The column with the sound or the sounds, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
        allow_urls: Whether sounds at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "heard_unpaired"
    wants: ClassVar[str] = "prompt and completion, text or conversations; label, true or false; audios or audio"

    def __init__(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        label: str | None = None,
        audios: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(root, allow_urls, weight, prompt=prompt, completion=completion, label=label, audios=audios)
