"""The model of the package `audiobox_aesthetics`: from a checkpoint, without torchaudio's file reading."""

import pickle
from pathlib import Path

import torch
from audiobox_aesthetics.infer import AXES_NAME, AesPredictor
from audiobox_aesthetics.model.aes import AesMultiOutput, Normalize

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.resampling import resampled, with_channels

_RATE = 16000
_WINDOW = 10 * _RATE


class _OfFolder(AesPredictor):
    """The package's own predictor, of a folder or hub id."""

    def __init__(self, source: str, revision: str | None) -> None:
        self.revision = revision
        super().__init__(source)

    def setup_model(self) -> None:
        # Without `strict`, weights that a file lacks would be drawn by chance.
        self.model = AesMultiOutput.from_pretrained(self.checkpoint_pth, revision=self.revision, strict=True)
        self.model.eval()
        self.target_transform = {axis: Normalize(**self.model.target_transform[axis]) for axis in AXES_NAME}


class Aesthetics:
    """A frozen model on a device.

    Args:
        model: A checkpoint (.pt), a folder or a hub id.
        revision: Of a hub id.
        device: Where it computes.
        batch_size: How many windows are heard at once.

    Raises:
        UserError: It cannot be loaded.
    """

    def __init__(self, model: str, revision: str | None, device: torch.device, batch_size: int) -> None:
        try:
            self._predictor = (
                AesPredictor(model)
                if Path(model).is_file()
                else _OfFolder(resolve_model(model, ("config.json",), revision), revision)
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            raise UserError(
                f"the model {model!r} cannot be loaded by audiobox_aesthetics: {error}",
                "Name a checkpoint (.pt) of that package, or a folder or hub id with its config.json and weights.",
            ) from error
        self._predictor.device = device
        self._predictor.model.to(device).requires_grad_(False)
        self._batch_size = batch_size

    def judge(self, clip: Clip) -> dict[str, float]:
        """The judgement of each axis: the mean over windows of 10 seconds, by their lengths."""
        windows = list(torch.split(resampled(with_channels(clip, 1), _RATE).samples, _WINDOW, dim=1))
        judged: list[dict[str, float]] = []
        for start in range(0, len(windows), self._batch_size):
            block = windows[start : start + self._batch_size]
            judged += self._predictor.forward([{"path": window, "sample_rate": _RATE} for window in block])
        lengths = [window.shape[1] for window in windows]
        return {
            axis: sum(each[axis] * length for each, length in zip(judged, lengths, strict=True)) / sum(lengths)
            for axis in AXES_NAME
        }
