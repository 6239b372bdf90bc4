"""TangoFlux as declare-lab publishes it, written as a `TangoFluxPipeline`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from modalign.modalities.audio.layouts.t5 import part_of, text_encoder
from modalign.modalities.diffusion.config_file import read_config
from modalign.modalities.diffusion.layouts import PublishedLayout
from modalign.modalities.explained import explained

VAE: Mapping[str, Any] = {}
"""Of the autoencoder, Stable Audio's, whose settings are `AutoencoderOobleck`'s defaults."""
PROMPT_TOKENS = 64
"""Of the prompts that TangoFlux is trained with."""
DURATION = "duration_emebdder.time_positional_embedding."
"""How the names of the duration embedder's weights begin."""


class TangoFluxLayout(PublishedLayout):
    """A configuration and two files of weights; values that a configuration lacks are those of TangoFlux's code."""

    name: ClassVar[str] = "tangoflux"
    marker: ClassVar[str] = "tangoflux.safetensors"
    files: ClassVar[tuple[str, ...]] = ("config.json", "tangoflux.safetensors", "vae.safetensors")

    @classmethod
    def convert(cls, folder: Path, target: Path) -> None:
        """See `PublishedLayout.convert`."""
        from diffusers import AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
        from safetensors.torch import load_file

        from modalign.modalities.audio.pipelines.tangoflux import TangoFluxPipeline

        with explained(f"the TangoFlux model {folder}"):
            config = read_config(folder / "config.json", str(folder / "config.json"))
            weights = load_file(folder / "tangoflux.safetensors")
            encoder, tokenizer = text_encoder(folder, config.get("text_encoder_name", "google/flan-t5-large"), weights)
            vae = AutoencoderOobleck(**VAE)
            vae.load_state_dict(load_file(folder / "vae.safetensors"))
            pipeline = TangoFluxPipeline(
                _transformer(config, weights, encoder.config.d_model),
                FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000),
                encoder,
                tokenizer,
                _conditioner(config, weights),
                vae.eval(),
                latent_frames=config.get("audio_seq_len", 645),
                prompt_tokens=PROMPT_TOKENS,
            )
            pipeline.save_pretrained(target)


def _transformer(config: Mapping[str, Any], weights: Mapping[str, Tensor], text_dim: int) -> Any:
    from diffusers import FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        in_channels=config.get("in_channels", 64),
        num_layers=config.get("num_layers", 6),
        num_single_layers=config.get("num_single_layers", 18),
        attention_head_dim=config.get("attention_head_dim", 128),
        num_attention_heads=config.get("num_attention_heads", 8),
        joint_attention_dim=config.get("joint_attention_dim", 1024),
        pooled_projection_dim=text_dim,
        guidance_embeds=False,
    )
    transformer.load_state_dict(part_of("transformer.", weights))
    return transformer.eval()


def _conditioner(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    from modalign.modalities.audio.pipelines.tangoflux_conditioner import TangoFluxConditioner

    pooled_dim, text_dim = weights["fc.0.weight"].shape
    frequencies = 2 * len(weights[f"{DURATION}0.weights"])
    conditioner = TangoFluxConditioner(text_dim, pooled_dim, float(config.get("max_duration", 30)), frequencies)
    own = {f"fc.{name}": values for name, values in part_of("fc.", weights).items()}
    told = {f"duration.time_positional_embedding.{name}": v for name, v in part_of(DURATION, weights).items()}
    conditioner.load_state_dict({**own, **told})
    return conditioner.eval()
