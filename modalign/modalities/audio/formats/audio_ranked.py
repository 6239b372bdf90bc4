"""Several sounds for a prompt with scores, ranks or several judges' scores."""

from typing import ClassVar

from modalign.modalities.audio.formats.base import AudioFormat
from modalign.plugins.formats.media.ranked import MediaRanked
from modalign.plugins.formats.splitting import Pairs, Ties


class AudioRanked(MediaRanked, AudioFormat):
    """`prompt` (or `caption`), a list `audios`, and a list `scores` (larger is better) or `ranks` (smaller is better).

    A sound is written as for `audio_captions`. Scores are taken as they are. Ranks, and the scores of several judges,
    become Borda shares between 0 and 1: how many of its comparisons with the other sounds a sound wins.

    Args:
        pairs: What to make of a list. `none`: one comparison of all its sounds, for listwise objectives. `best_worst`:
            the best and the worst; of several best ones the first, of several worst ones the last. `best_vs_rest`: the
            best with each other one. `all`: every two.
        ties: Sounds with equal scores make no pair: `skip` leaves it out, counted; `error` refuses the row. With
            `pairs: none`, `skip` leaves out lists of equal scores only, and `error` refuses any two equal ones.
        min_gap: Scores must differ by at least this much to make a pair; others are left out, counted.
        rewards: Columns that each hold one judge's list of scores; their Borda shares are the scores. One is enough.
        prompt: The column with the prompt, where it is called otherwise.
        audios: The column with the sounds, where it is called otherwise.
        scores: The column with the scores, where it is called otherwise.
        ranks: The column with the ranks, where it is called otherwise.
        weight: The column with the weight of a row; every row weighs 1 without it.
        root: The folder that relative paths start from; the folder of the data file where None.

    Raises:
        ConfigError: An option is out of range or has no effect.
    """

    name = "audio_ranked"
    wants: ClassVar[str] = "prompt (or caption), text; audios (or sounds), a list; scores or ranks, a list of numbers"
    known: ClassVar[tuple[str, ...]] = ("audios", "sounds", "audio_paths", "file_names")

    def __init__(
        self,
        pairs: Pairs = "best_worst",
        ties: Ties = "skip",
        min_gap: float = 0.0,
        rewards: list[str] | None = None,
        prompt: str | None = None,
        audios: str | None = None,
        scores: str | None = None,
        ranks: str | None = None,
        weight: str | None = None,
        root: str | None = None,
    ) -> None:
        super().__init__(
            pairs, ties, min_gap, rewards, root, weight, prompt=prompt, audios=audios, scores=scores, ranks=ranks
        )
