"""Answers to imitate to prompts with sounds: `messages`, or `prompt` and `completion`, with `audios`."""

from typing import ClassVar

from modalign.modalities.audio.formats.heard import HeardFormat
from modalign.modalities.vision_language.formats.demonstration import MediaDemonstration


class HeardDemonstration(MediaDemonstration, HeardFormat):
    """`messages`, or `prompt` and `completion` (text or conversations), and `audios`, a list, or `audio`.

    Of `messages`, the last one is the response and all before it the prompt: earlier answers are not learned. Sounds
    are written and placed as for `heard_preference`.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        completion: The column with the response, where it is called otherwise.
        messages: The column with the conversation, where it is called otherwise.
        audios: The column with the sound or the sounds, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
        allow_urls: Whether sounds at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "heard_demonstration"
    wants: ClassVar[str] = "messages, or prompt and completion; audios or audio; and no label, chosen or rejected"

    def __init__(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        messages: str | None = None,
        audios: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root, allow_urls, weight, prompt=prompt, completion=completion, messages=messages, audios=audios
        )
