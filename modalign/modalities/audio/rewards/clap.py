"""A CLAP model of transformers: sounds and texts become vectors that can be compared, the same in every run.

transformers' own feature extractor draws from numpy's global generator: a part of a sound that is longer than its
window, and which sound of a batch a model with fusion takes for a longer one. Here it never has a choice: it is given
one window at a time, none longer than its own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.reading.resampling import resampled, with_channels

_CURE = "Name a folder or a hub id with a ClapModel, its feature extractor and its tokenizer."


class Clap:
    """A frozen CLAP model on a device.

    Args:
        model: A folder or a hub id.
        revision: Of a hub id.
        device: Where it computes.
        dtype: What it computes in.
        batch_size: How many windows or texts are encoded at once.

    Attributes:
        longest: How many tokens of a text are read at most, the marks at both ends included.
        window: How many frames are heard at once.
        rate: Of the sounds that it hears.

    Raises:
        UserError: There is no such model, or it is no CLAP model.
    """

    def __init__(
        self, model: str, revision: str | None, device: torch.device, dtype: torch.dtype, batch_size: int
    ) -> None:
        from transformers import AutoConfig, ClapModel, ClapProcessor

        source = resolve_model(model, ("config.json",), revision)
        try:
            config = AutoConfig.from_pretrained(source, revision=revision)
            if config.model_type != "clap":
                raise UserError(f"{model!r} holds a model of type {config.model_type!r}.", "Name a CLAP model.")
            loaded = ClapModel.from_pretrained(source, revision=revision, dtype=dtype)
            processor = ClapProcessor.from_pretrained(source, revision=revision)
        except (OSError, ValueError) as error:
            raise UserError(f"The CLAP model {model!r} cannot be loaded: {error}", _CURE) from error
        self._model = loaded.to(device).eval().requires_grad_(False)
        self._extractor, self._tokenizer = processor.feature_extractor, processor.tokenizer
        self._device, self._dtype, self._batch_size = device, dtype, batch_size
        text = config.text_config
        # Positions of RoBERTa are counted from the one after the padding's.
        positions = int(text.max_position_embeddings) - int(text.pad_token_id) - 1
        self.longest = min(positions, int(self._tokenizer.model_max_length))
        self.window = int(self._extractor.nb_max_samples)
        self.rate = int(self._extractor.sampling_rate)

    def windows(self, clip: Clip) -> list[Tensor]:
        """A clip in mono at the model's rate, in parts of `(frames,)` one after another; only the last may be short."""
        return list(torch.split(resampled(with_channels(clip, 1), self.rate).samples[0], self.window))

    @torch.inference_mode()
    def sounds(self, windows: Sequence[Tensor]) -> Tensor:
        """`(N, D)` float32 vectors of length 1, on the CPU.

        Args:
            windows: N of `(frames,)`, each of 1 to `window` frames; a short one is filled as the model wants it.
        """
        vectors = []
        for start in range(0, len(windows), self._batch_size):
            block = windows[start : start + self._batch_size]
            # One at a time: of several, a model with fusion would mark one by chance.
            features = [
                self._extractor(window.cpu().numpy(), sampling_rate=self.rate, return_tensors="pt") for window in block
            ]
            heard = torch.cat([each["input_features"] for each in features]).to(self._device, self._dtype)
            longer = torch.cat([each["is_longer"] for each in features]).to(self._device)
            vectors.append(self._model.get_audio_features(input_features=heard, is_longer=longer).pooler_output)
        return _units(vectors)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """`(N, D)` float32 vectors of length 1, on the CPU; texts are cut to `longest` tokens."""
        vectors = []
        for start in range(0, len(texts), self._batch_size):
            block = list(texts[start : start + self._batch_size])
            tokens = self._tokenizer(block, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
            vectors.append(self._model.get_text_features(**tokens.to(self._device)).pooler_output)
        return _units(vectors)

    def too_long(self, texts: Sequence[str]) -> int:
        """How many of the texts have more than `longest` tokens."""
        tokens = self._tokenizer(list(texts), verbose=False)["input_ids"]
        return sum(len(ids) > self.longest for ids in tokens)


def _units(vectors: Sequence[Tensor]) -> Tensor:
    return normalize(torch.cat([each.float().cpu() for each in vectors]), dim=-1)
