"""Pairs of answers to prompts with sounds, in the form that TRL has for images."""

from typing import ClassVar

from modalign.modalities.audio.formats.heard import HeardFormat
from modalign.modalities.vision_language.formats.preference import MediaPreference


class HeardPreference(MediaPreference, HeardFormat):
    """`chosen` and `rejected`, text or conversations; mostly `prompt`; and `audios`, a list, or `audio`, a single one.

    Without a `prompt` column, the prompt is what both responses begin with, as for `trl_preference`. Sounds fill the
    parts `{"type": "audio"}` of the prompt's messages, or its `<audio>` tags; without either they stand before the
    user's first text. A row whose sounds are `[]` or null has none. A sound is a path, the bytes of a file, a mapping
    with either, or base64 text; a mapping with a path may say with `start` and `seconds` which part of it is meant.

    With `rejected_audios`, the rejected response is judged under these. It may then be the text of the chosen one, or
    left out: such a pair is one of sounds. `other_audios` (or `other_audio`) are what objectives that compare sounds
    take the other ones from, and `other_response` is the answer that is right for those.

    Args:
        prompt: The column with the prompt, where it is called otherwise.
        chosen: The column with the better response, where it is called otherwise.
        rejected: The column with the other response, where it is called otherwise.
        audios: The column with the sound or the sounds, where it is called otherwise.
        rejected_audios: The column with the sounds of the rejected response, where it is called otherwise.
        other_audios: The column with other sounds, where it is called otherwise.
        other_response: The column with the answer to other sounds, where it is called otherwise.
        chosen_score: The column with the rating of the better response; `chosen_score`, `score_chosen` and
            `reward_chosen` are known.
        rejected_score: The same for the other response.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.
        allow_urls: Whether sounds at http and https addresses are fetched, once each; otherwise such rows are refused.
    """

    name = "heard_preference"
    wants: ClassVar[str] = "chosen and rejected, text or conversations; audios or audio; prompt, unless both begin so"

    def __init__(
        self,
        prompt: str | None = None,
        chosen: str | None = None,
        rejected: str | None = None,
        audios: str | None = None,
        rejected_audios: str | None = None,
        other_audios: str | None = None,
        other_response: str | None = None,
        chosen_score: str | None = None,
        rejected_score: str | None = None,
        weight: str | None = None,
        root: str | None = None,
        allow_urls: bool = False,
    ) -> None:
        super().__init__(
            root,
            allow_urls,
            weight,
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            audios=audios,
            rejected_audios=rejected_audios,
            other_audios=other_audios,
            other_response=other_response,
            chosen_score=chosen_score,
            rejected_score=rejected_score,
        )
