"""A small TangoFlux pipeline with random weights: nothing is downloaded."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modalign.core.keys import seed_global
from modalign.modalities.audio.quickstart.judging import MEL
from modalign.modalities.audio.quickstart.sounds import CAPTIONS, SAMPLES

TEXT_WIDTH = 32
SECONDS = SAMPLES / MEL.rate


def write_pipeline(folder: Path, heads: int, seed: int) -> None:
    """Write a `TangoFluxPipeline` that has no VAE: its transformer denoises mel spectrograms.

    Args:
        folder: Must not exist.
        heads: Of the transformer's attention; each is 32 wide.
        seed: Of the weights.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    from modalign.modalities.audio.pipelines.tangoflux import TangoFluxPipeline
    from modalign.modalities.audio.pipelines.tangoflux_conditioner import TangoFluxConditioner

    seed_global(seed, "random weights")
    tokenizer = _tokenizer(CAPTIONS)
    pipeline = TangoFluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=MEL.mels,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=32,
            num_attention_heads=heads,
            joint_attention_dim=TEXT_WIDTH,
            pooled_projection_dim=TEXT_WIDTH,
            axes_dims_rope=(16, 8, 8),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=_text_encoder(tokenizer),
        tokenizer=tokenizer,
        conditioner=TangoFluxConditioner(TEXT_WIDTH, TEXT_WIDTH, max_seconds=SECONDS, frequencies=8),
        vae=None,
        latent_frames=SAMPLES // MEL.hop,
        prompt_tokens=tokenizer.model_max_length,
        mel=asdict(MEL),
    )
    pipeline.save_pretrained(folder)


def _tokenizer(texts: Sequence[str]) -> Any:
    """T5's tokenizer with a token for every word of some texts; other words fall into letters."""
    from transformers import T5Tokenizer

    words = dict.fromkeys(word for text in texts for word in text.split())
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(f"\u2581{word}", -1.0) for word in words]
    pieces += [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in words]
    longest = max(len(text.split()) for text in texts) + 1
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=longest)


def _text_encoder(tokenizer: Any) -> Any:
    """T5's encoder; it stays as random as it is."""
    from torch.nn.init import normal_
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=TEXT_WIDTH // 2,
        d_ff=2 * TEXT_WIDTH,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=16,
        relative_attention_max_distance=16,
        decoder_start_token_id=0,
    )
    encoder = T5EncoderModel(config).eval()
    # Else random attention would hardly tell "a then b" from "b then a", and the flow could not learn it.
    normal_(encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    return encoder
