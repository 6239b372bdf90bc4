"""Models that hear sounds: an encoder makes vectors of them, a classifier probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.resampling import resampled, with_channels

_SHORTEST = 0.1
"""Seconds; a shorter window is followed by silence, as encoders with convolutions hear nothing in less."""
_UNTRAINED = ("masked_spec_embed",)
"""Weights that only training reads, and that checkpoints may lack."""


class Listener(ABC):
    """A frozen model.

    Attributes:
        rate: Of the sounds that it hears.
        longest: Frames that it hears at once; None for any number.
    """

    rate: int
    longest: int | None = None

    @abstractmethod
    def hear(self, window: Tensor) -> Tensor:
        """`(D,)` float64: what it makes of a window of `(frames,)` in mono."""

    def windows(self, clip: Clip, seconds: float) -> list[Tensor]:
        """A clip in mono at the model's rate, in windows one after another.

        What is left over after them is a window too where it is at least half as long, or where there is no other.
        """
        size = max(round(seconds * self.rate), 1)
        size = size if self.longest is None else min(size, self.longest)
        samples = resampled(with_channels(clip, 1), self.rate).samples[0]
        windows = list(torch.split(samples, size))
        return windows[:-1] if len(windows) > 1 and 2 * len(windows[-1]) < size else windows


class ClapTower(Listener):
    """The audio tower of a CLAP model: the vectors that are compared to texts', of length 1."""

    def __init__(self, model: str, revision: str | None, device: torch.device) -> None:
        from modalign.modalities.audio.rewards.clap import Clap

        self._clap = Clap(model, revision, device, torch.float32, 1)
        self.rate, self.longest = self._clap.rate, self._clap.window

    def hear(self, window: Tensor) -> Tensor:
        return self._clap.sounds([window])[0].double()


class Encoder(Listener):
    """The mean over time of an encoder's hidden states: Wav2Vec2, WavLM, HuBERT, AST, Whisper's encoder."""

    def __init__(self, model: str, revision: str | None, layer: int | None, device: torch.device) -> None:
        from transformers import AutoModel

        loaded, self._extractor = _loaded(AutoModel, model, revision)
        if loaded.config.is_encoder_decoder:
            loaded = loaded.get_encoder()
        layers = int(getattr(loaded.config, "num_hidden_layers", 0))
        if layer is not None and not 0 <= layer <= layers:
            raise UserError(f"layer is {layer}, and {model!r} has {layers} layers", "Give 0 (what enters) up to that.")
        self._model = loaded.to(device).eval().requires_grad_(False)
        self._layer, self._device, self._name = layer, device, model
        self.rate = int(self._extractor.sampling_rate)
        self.longest = _longest(self._extractor)
        # Whisper's extractor fills every sound up to 30 seconds, and its encoder has states for them all.
        self._filled = getattr(self._extractor, "n_samples", None)

    @torch.inference_mode()
    def hear(self, window: Tensor) -> Tensor:
        inputs = _inputs(self._extractor, window).to(self._device)
        found = self._model(**inputs, output_hidden_states=self._layer is not None)
        states = found.last_hidden_state if self._layer is None else found.hidden_states[self._layer]
        if states.dim() != 3:
            raise UserError(
                f"{self._name!r} has hidden states of shape {tuple(states.shape)}, and (1, times, features) are needed",
                "Name a model such as Wav2Vec2, WavLM, HuBERT, AST, Whisper or CLAP.",
            )
        times: Tensor = states[0].double().cpu()
        if self._filled is not None:
            times = times[: max(-(-len(times) * len(window) // self._filled), 1)]
        return times.mean(0)


class Classifier(Listener):
    """An audio classifier: the softmax of its logits."""

    def __init__(self, model: str, revision: str | None, device: torch.device) -> None:
        from transformers import AutoModelForAudioClassification

        loaded, self._extractor = _loaded(AutoModelForAudioClassification, model, revision)
        if loaded.config.num_labels < 2:
            raise UserError(
                f"{model!r} tells {loaded.config.num_labels} class apart", "Name a model with more classes."
            )
        self._model = loaded.to(device).eval().requires_grad_(False)
        self._device = device
        self.rate, self.longest = int(self._extractor.sampling_rate), _longest(self._extractor)

    @torch.inference_mode()
    def hear(self, window: Tensor) -> Tensor:
        logits: Tensor = self._model(**_inputs(self._extractor, window).to(self._device)).logits
        return logits[0].double().softmax(-1).cpu()


def load_encoder(model: str, revision: str | None, layer: int | None, device: torch.device) -> Listener:
    """The encoder of a folder or hub id.

    Args:
        model: A folder or a hub id.
        revision: Of a hub id.
        layer: Whose hidden states are taken, 0 for what enters the first; the last where None. CLAP has no choice.
        device: Where it computes.

    Raises:
        UserError: It cannot be loaded.
    """
    from transformers import AutoConfig

    source = resolve_model(model, ("config.json",), revision)
    try:
        kind = AutoConfig.from_pretrained(source, revision=revision).model_type
    except (OSError, ValueError) as error:
        raise UserError(f"the model {model!r} cannot be loaded: {error}", _CURE) from error
    if kind != "clap":
        return Encoder(model, revision, layer, device)
    if layer is not None:
        raise UserError(f"layer is {layer}, and the vectors of a CLAP model come from none", "Leave layer out.")
    return ClapTower(model, revision, device)


_CURE = "Name a folder or a hub id with a model of transformers that hears sounds, and its feature extractor."


def _loaded(kind: Any, model: str, revision: str | None) -> tuple[Any, Any]:
    """The model with all its weights, and its feature extractor."""
    from transformers import AutoFeatureExtractor

    source = resolve_model(model, ("config.json",), revision)
    try:
        loaded, report = kind.from_pretrained(source, revision=revision, dtype=torch.float32, output_loading_info=True)
        extractor = AutoFeatureExtractor.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        raise UserError(f"the model {model!r} cannot be loaded: {error}", _CURE) from error
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(_UNTRAINED))
    if missing:
        raise UserError(
            f"{model!r} has no trained weights for {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}: "
            f"as a {type(loaded).__name__} it would hear by chance",
            "Name a model that was trained for this: a classifier needs its classification head.",
        )
    if not hasattr(extractor, "sampling_rate"):
        raise UserError(f"the feature extractor of {model!r} names no sampling rate", _CURE)
    return loaded, extractor


def _longest(extractor: Any) -> int | None:
    """The frames of a sound beyond which an extractor cuts silently; None where it takes any number."""
    if hasattr(extractor, "n_samples"):  # Whisper's
        return int(extractor.n_samples)
    if not hasattr(extractor, "num_mel_bins"):  # a waveform's
        return None
    # AST's spectra, by Kaldi: 25 ms every 10 ms.
    return int((extractor.max_length - 1) * 0.010 * extractor.sampling_rate + 0.025 * extractor.sampling_rate)


def _inputs(extractor: Any, window: Tensor) -> Any:
    missing = max(round(_SHORTEST * extractor.sampling_rate) - len(window), 0)
    samples = pad(window, (0, missing)).cpu().numpy()
    return extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")


def weighted(vectors: Sequence[Tensor], windows: Sequence[Tensor]) -> Tensor:
    """The mean of what is heard in windows, by their lengths."""
    lengths = torch.tensor([len(window) for window in windows], dtype=torch.float64)
    return (torch.stack(list(vectors)) * lengths[:, None]).sum(0) / lengths.sum()
