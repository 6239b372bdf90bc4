"""How well a sound and its prompt agree, as a CLAP model hears it."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from modalign.core.devices import device_of
from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.hub import resolve_model
from modalign.core.modality import Modality
from modalign.core.reward import Reward
from modalign.modalities.audio.rewards.heard import heard

if TYPE_CHECKING:
    from modalign.modalities.audio.rewards.clap import Clap

Dtype = Literal["float32", "float16", "bfloat16"]


class ClapScore(Reward):
    """The cosine of a sound's and its prompt's CLAP vectors, from -1 to 1.

    A sound is heard in mono at the model's rate. One that is longer than the model's window (10 seconds, as a rule) is
    cut into windows one after another, and has the mean of their cosines, each weighted by its length; transformers
    and laion_clap take a part by chance, so that their score of it is another in each call. Up to the window the score
    is transformers' own of the single sound. Scores of different models cannot be compared.

    A sound without samples, or with one that is not finite, has -1. Silence has what the model makes of it. The model
    is loaded when it is first needed.

    Args:
        model: A folder or a hub id, such as laion/clap-htsat-unfused.
        revision: Of a hub id.
        batch_size: How many windows or texts are encoded at once.
        device: Where it computes; a GPU where there is one, if None.
        dtype: What it computes in; vectors are compared in float32.

    Attributes:
        cut: How many prompts were longer than the model reads, and cut, of those scored so far.

    Raises:
        ConfigError: An option is unknown or out of range.
    """

    name: ClassVar[str] = "clap_score"
    modalities: ClassVar[frozenset[str]] = frozenset({"audio", "audio_tokens"})

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        batch_size: int = 8,
        device: str | None = None,
        dtype: Dtype = "float32",
    ) -> None:
        if dtype not in get_args(Dtype):
            raise ConfigError(f"clap_score: dtype is {dtype!r}.", did_you_mean(str(dtype), get_args(Dtype)))
        if batch_size < 1:
            raise ConfigError(f"clap_score: batch_size is {batch_size}.", "Give at least 1.")
        self.model, self.revision, self.batch_size = model, revision, batch_size
        self.device, self.dtype = device, dtype
        self.cut = 0

    def check(self, modality: Modality) -> None:
        """See `Reward.check`; and refuse a model or a device that does not exist.

        Raises:
            UserError: Naming what cannot be used.
        """
        super().check(modality)
        resolve_model(self.model, ("config.json",), self.revision)
        device_of(self.device)

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N sounds.

        Args:
            prompts: N texts.
            candidates: N sounds, `Media` or `Clip`.

        Returns:
            `(N,)` float32, finite, on the CPU.

        Raises:
            UserError: A prompt is no text, or the model cannot be loaded.
            RowError: A file cannot be read as a sound.
        """
        if strange := [prompt for prompt in prompts if not isinstance(prompt, str)]:
            raise UserError(f"clap_score was given a prompt of type {type(strange[0]).__name__}.", "Prompts are text.")
        if not prompts:
            return torch.zeros(0)
        self._count_cut(prompts)
        different = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        texts = self._clap.texts(list(different))[[different[prompt] for prompt in prompts]]
        return torch.stack([self._agreement(text, response) for text, response in zip(texts, candidates, strict=True)])

    def _agreement(self, text: Tensor, response: Any) -> Tensor:
        clip = heard(response)
        if clip is None:
            return torch.tensor(-1.0)
        windows = self._clap.windows(clip)
        lengths = torch.tensor([float(len(window)) for window in windows])
        cosines = self._clap.sounds(windows) @ text
        return (cosines * lengths).sum() / lengths.sum()

    @cached_property
    def _clap(self) -> "Clap":
        from modalign.modalities.audio.rewards.clap import Clap

        device = device_of(self.device)
        return Clap(self.model, self.revision, device, getattr(torch, self.dtype), self.batch_size)

    def _count_cut(self, prompts: Sequence[str]) -> None:
        count = self._clap.too_long(prompts)
        if count and not self.cut:
            warnings.warn(
                f"clap_score: {count} of {len(prompts)} prompts are longer than the {self._clap.longest} tokens that "
                "the model reads, and are cut; later ones are only counted",
                stacklevel=3,
            )
        self.cut += count

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_clap"}
