"""What the Audiobox-Aesthetics models think of a sound (arXiv 2502.05139)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from modalign.core.devices import device_of
from modalign.core.errors import ConfigError, UserError, did_you_mean
from modalign.core.hub import resolve_model
from modalign.core.modality import Modality
from modalign.core.reward import Reward
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.heard import heard

if TYPE_CHECKING:
    from modalign.modalities.audio.rewards.audiobox import Aesthetics

Axis = Literal["CE", "CU", "PC", "PQ", "mean"]
AXES = ("CE", "CU", "PC", "PQ")
_LOWEST, _HIGHEST = 1.0, 10.0


class AudioboxAesthetics(Reward):
    """Learned judgements from 1 to 10: content enjoyment (CE), content usefulness (CU), production complexity (PC),
    production quality (PQ).

    A sound is heard in mono at 16 kHz, in windows of 10 seconds one after another; each counts by its length, as the
    package `audiobox_aesthetics` has it, whose model this is. The prompt is not read. A sound without samples, or with
    one that is not finite, has the worst that the scale allows. The model is loaded when it is first needed.

    Args:
        model: A checkpoint (.pt), a folder or a hub id, such as facebook/audiobox-aesthetics.
        axis: CE, CU, PC or PQ, or the mean of all four.
        weights: What each axis is multiplied by before they are added, in place of one axis; below 0 for what is not
            wanted.
        revision: Of a hub id.
        batch_size: How many windows are heard at once.
        device: Where it computes; a GPU where there is one, if None.

    Raises:
        ConfigError: An option is unknown, out of range, or has no effect.
    """

    name: ClassVar[str] = "audiobox_aesthetics"
    modalities: ClassVar[frozenset[str]] = frozenset({"audio", "audio_tokens"})

    def __init__(
        self,
        model: str,
        axis: Axis = "mean",
        weights: Mapping[str, float] | None = None,
        revision: str | None = None,
        batch_size: int = 4,
        device: str | None = None,
    ) -> None:
        if axis not in get_args(Axis):
            raise ConfigError(f"audiobox_aesthetics: axis is {axis!r}.", did_you_mean(str(axis), get_args(Axis)))
        if weights is not None and axis != "mean":
            raise ConfigError(
                f"audiobox_aesthetics: axis {axis} has no effect beside weights.",
                f"Leave it out, or give {{{axis}: 1}}.",
            )
        if weights is not None and (strange := [name for name in weights if name not in AXES]):
            raise ConfigError(f"audiobox_aesthetics: weights of {strange[0]!r}.", did_you_mean(strange[0], AXES))
        if weights is not None and not any(weights.values()):
            raise ConfigError(f"audiobox_aesthetics: weights is {dict(weights)}.", "Weigh at least one axis.")
        if batch_size < 1:
            raise ConfigError(f"audiobox_aesthetics: batch_size is {batch_size}.", "Give at least 1.")
        self.model, self.revision, self.batch_size, self.device = model, revision, batch_size, device
        if weights is None:
            weights = {name: 1 / len(AXES) for name in AXES} if axis == "mean" else {axis: 1.0}
        self.weights = dict(weights)

    def check(self, modality: Modality) -> None:
        """See `Reward.check`; and refuse a model or a device that does not exist.

        Raises:
            UserError: Naming what cannot be used.
        """
        super().check(modality)
        if not Path(self.model).expanduser().is_file():
            resolve_model(self.model, ("config.json",), self.revision)
        device_of(self.device)

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N sounds.

        Args:
            prompts: N contexts; not read.
            candidates: N sounds, `Media` or `Clip`.

        Returns:
            `(N,)` float32, on the CPU.

        Raises:
            UserError: The model cannot be loaded.
            RowError: A file cannot be read as a sound.
        """
        return torch.tensor([self._score(heard(response)) for response in candidates], dtype=torch.float32)

    def _score(self, clip: Clip | None) -> float:
        if clip is None:
            return sum(weight * (_LOWEST if weight > 0 else _HIGHEST) for weight in self.weights.values())
        judged = self._aesthetics.judge(clip)
        return sum(weight * judged[axis] for axis, weight in self.weights.items())

    @cached_property
    def _aesthetics(self) -> "Aesthetics":
        try:
            from modalign.modalities.audio.rewards.audiobox import Aesthetics
        except ModuleNotFoundError as error:
            raise UserError(
                f"audiobox_aesthetics needs the package {error.name}.", "pip install 'modalign[audio-rewards]'"
            ) from error
        path = Path(self.model).expanduser()
        model = str(path) if path.exists() else self.model
        return Aesthetics(model, self.revision, device_of(self.device), self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_aesthetics"}
