"""MusicGen (Copet et al. 2023, arXiv 2306.05284), mono and stereo."""

from typing import Any

import torch
from torch import Tensor, nn

from modalign.core.errors import UserError
from modalign.modalities.audio.tokens.codecs import frozen, part_of_model
from modalign.modalities.audio.tokens.delays import DelayPattern
from modalign.modalities.audio.tokens.family import Heard, TokenFamily, TokenSource
from modalign.modalities.modes import eval_mode


class MusicGen(TokenFamily):
    """`MusicgenForConditionalGeneration`: a T5 encoder, Encodec, a decoder whose codebooks lag by a step each.

    A stereo model has the codebooks of the left and of the right channel in turn, both of a lag.
    """

    config_class = "MusicgenConfig"
    model_class = "MusicgenForConditionalGeneration"
    frozen = ("text_encoder", "audio_encoder")
    heads = ("decoder.lm_heads",)
    lora_targets = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")

    def __init__(self, config: Any, source: TokenSource) -> None:
        super().__init__(config, source)
        codec = config.audio_encoder
        if codec.model_type != "encodec" or codec.normalize or codec.chunk_length_s is not None:
            raise UserError(
                f"{source.folder!r} has a codec that scales sounds or cuts them into chunks ({codec.model_type}), "
                "whose codes alone are not the sound.",
                "Name a MusicGen with an Encodec of 32 kHz, as facebook publishes them.",
            )

    @property
    def pattern(self) -> DelayPattern:
        decoder = self.config.decoder
        lags = tuple(k // decoder.audio_channels for k in range(decoder.num_codebooks))
        return DelayPattern(lags, before=decoder.pad_token_id, after=decoder.pad_token_id)

    @property
    def positions(self) -> int:
        return int(self.config.decoder.max_position_embeddings)

    @property
    def rate(self) -> int:
        return int(self.config.audio_encoder.sampling_rate)

    @property
    def hop(self) -> int:
        return int(self.config.audio_encoder.hop_length)

    @property
    def channels(self) -> int:
        return int(self.config.decoder.audio_channels)

    def load_codec(self) -> nn.Module:
        codec = part_of_model(self.source, "EncodecModel", "audio_encoder", self.config.audio_encoder)
        with frozen(codec, torch.device("cpu")):
            self._check(self.codes(codec, torch.zeros(self.channels, self.hop)))
        return codec

    def _check(self, codes: Tensor) -> None:
        if codes.shape[1] != self.pattern.codebooks:
            raise UserError(
                f"The codec of {self.source.folder!r} makes {codes.shape[1]} codes a frame, and its decoder takes "
                f"{self.pattern.codebooks}.",
                "Name a complete MusicGen.",
            )

    def codes(self, codec: Any, samples: Tensor) -> Tensor:
        # A channel is a sound of its own to the codec.
        found = codec.encode(samples[:, None]).audio_codes[0]
        codes: Tensor = found.permute(2, 1, 0).flatten(1)
        return codes

    def samples(self, codec: Any, codes: Tensor) -> Tensor:
        parted = codes.view(len(codes), -1, self.channels).permute(2, 1, 0)
        decoded: Tensor = codec.decode(parted[None], [None]).audio_values[:, 0]
        return decoded

    def hear(self, model: Any, ids: Tensor, mask: Tensor) -> Heard:
        with eval_mode(model.text_encoder), torch.no_grad():
            states = model.text_encoder(input_ids=ids, attention_mask=mask)[0]
        projected = model.enc_to_dec_proj(states) if hasattr(model, "enc_to_dec_proj") else states
        return Heard(projected * mask[..., None], mask)

    def unheard(self, model: Any, ids: Tensor, mask: Tensor) -> Heard:
        heard = self.hear(model, ids, mask)
        return Heard(torch.zeros_like(heard.states), torch.zeros_like(mask))

    def hidden(self, model: Any, heard: Heard, tokens: Tensor, cache: Any = None) -> Tensor:
        hidden: Tensor = model.decoder.model(
            input_ids=tokens.transpose(1, 2).flatten(0, 1),
            encoder_hidden_states=heard.states,
            encoder_attention_mask=heard.mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )[0]
        return hidden

    def logits(self, model: Any, hidden: Tensor) -> Tensor:
        return torch.stack([head(hidden) for head in model.decoder.lm_heads], dim=1)
