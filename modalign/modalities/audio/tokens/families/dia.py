"""Dia (Nari Labs): dialogues of speech."""

from collections.abc import Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from modalign.core.errors import RowError, UserError
from modalign.modalities.audio.tokens.codecs import codec_named_by_processor, codec_place
from modalign.modalities.audio.tokens.delays import DelayPattern
from modalign.modalities.audio.tokens.family import Heard, TokenFamily, files_in
from modalign.modalities.explained import explained
from modalign.modalities.modes import eval_mode


class Dia(TokenFamily):
    """`DiaForConditionalGeneration`: an encoder of bytes, codes of the DAC that its processor names.

    A sound ends in a token of its own in every codebook, as in transformers' loss. While sampling, the first codebook
    decides where a sound ends, and may do so only where that is the likeliest, as in transformers' `generate`.
    """

    config_class = "DiaConfig"
    model_class = "DiaForConditionalGeneration"
    frozen = ("model.encoder",)
    heads = ("logits_dense",)
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj")

    @property
    def pattern(self) -> DelayPattern:
        decoder = self.config.decoder_config
        return DelayPattern(
            tuple(self.config.delay_pattern), decoder.bos_token_id, decoder.pad_token_id, decoder.eos_token_id
        )

    @property
    def positions(self) -> int:
        return int(self.config.decoder_config.max_position_embeddings)

    @cached_property
    def _codec_config(self) -> Any:
        from transformers import AutoConfig

        with explained(f"the codec of {self.source.processor!r}"):
            return AutoConfig.from_pretrained(codec_place(self.source), trust_remote_code=False)

    @property
    def rate(self) -> int:
        return int(self._codec_config.sampling_rate)

    @property
    def hop(self) -> int:
        return int(prod(self._codec_config.downsampling_ratios))

    def prompt_ids(self, tokenizer: Any, prompt: str) -> Sequence[int]:
        ids = super().prompt_ids(tokenizer, prompt)
        most = self.config.encoder_config.max_position_embeddings
        if len(ids) > most:
            raise RowError(f"the prompt is too long: {len(ids)} bytes, and the model takes {most}", "Shorten it.")
        return ids

    def load_codec(self) -> nn.Module:
        codec = codec_named_by_processor(self.source, "DacModel")
        if self._codec_config.n_codebooks != self.pattern.codebooks:
            raise UserError(
                f"The codec that {self.source.processor!r} names makes {self._codec_config.n_codebooks} codes a frame, "
                f"and the model takes {self.pattern.codebooks}.",
                "Name the processor of the model.",
            )
        return codec

    def codec_files(self) -> Sequence[Path]:
        return files_in(codec_place(self.source))

    def codes(self, codec: Any, samples: Tensor) -> Tensor:
        filled = pad(samples, (0, -samples.shape[1] % self.hop))
        found: Tensor = codec.encode(filled[None]).audio_codes[0]
        return found.T

    def samples(self, codec: Any, codes: Tensor) -> Tensor:
        decoded: Tensor = codec.decode(audio_codes=codes.T[None]).audio_values
        return decoded.reshape(1, -1)

    def hear(self, model: Any, ids: Tensor, mask: Tensor) -> Heard:
        with eval_mode(model.model.encoder), torch.no_grad():
            return Heard(model.model.encoder(input_ids=ids, attention_mask=mask)[0], mask)

    def unheard(self, model: Any, ids: Tensor, mask: Tensor) -> Heard:
        return self.hear(model, torch.zeros_like(ids), mask)

    def hidden(self, model: Any, heard: Heard, tokens: Tensor, cache: Any = None) -> Tensor:
        hidden: Tensor = model.model.decoder(
            input_ids=tokens,
            encoder_hidden_states=heard.states,
            encoder_attention_mask=heard.mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )[0]
        return hidden

    def logits(self, model: Any, hidden: Tensor) -> Tensor:
        logits: Tensor = model.logits_dense(hidden)
        return logits.view(len(logits), self.pattern.codebooks, -1)

    def guided(self, logits: Tensor, unguided: Tensor, scale: float, top_k: int | None) -> Tensor:
        """Centred on the logits with the prompt; with `top_k`, guidance chooses which of these may be drawn."""
        mixed = logits + (logits - unguided) * scale
        if top_k is None:
            return mixed
        kept = torch.zeros_like(mixed, dtype=torch.bool).scatter(
            -1, mixed.topk(min(top_k, mixed.shape[-1])).indices, True
        )
        return logits.masked_fill(~kept, -torch.inf)

    def allowed(self, logits: Tensor) -> Tensor:
        end = self.config.decoder_config.eos_token_id
        logits = logits.clone()
        logits[:, 1:, end:] = -torch.inf
        logits[:, 0, end + 1 :] = -torch.inf
        ends = logits[:, 0].argmax(-1) == end
        logits[:, 0, :end] = logits[:, 0, :end].masked_fill(ends[:, None], -torch.inf)
        logits[:, 0, end] = logits[:, 0, end].masked_fill(~ends, -torch.inf)
        return logits
