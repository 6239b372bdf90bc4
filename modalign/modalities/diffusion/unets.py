"""Which UNets can be trained."""

from collections.abc import Mapping
from typing import Any

from modalign.core.errors import ConfigError


def check_unet(index: Mapping[str, Any], config: Mapping[str, Any], addition: str | None, wanted: str) -> None:
    """Refuse UNets that take more than noisy latents, a time and a text.

    Args:
        index: Of the pipeline.
        config: Of the UNet.
        addition: The `addition_embed_type` that the family feeds.
        wanted: What to name instead, for the message.

    Raises:
        ConfigError: Naming what it takes.
    """
    takes = []
    if config["in_channels"] != config["out_channels"]:
        takes.append(f"{config['in_channels']} channels for {config['out_channels']} (inpainting, editing, upscaling)")
    if config.get("addition_embed_type") != addition:
        takes.append(f"addition_embed_type {config.get('addition_embed_type')!r} in place of {addition!r}")
    if config.get("class_embed_type") is not None or config.get("num_class_embeds") is not None:
        takes.append("class labels")
    if config.get("time_cond_proj_dim") is not None:
        takes.append("a guidance scale (time_cond_proj_dim, latent consistency models)")
    if config.get("encoder_hid_dim_type") is not None:
        takes.append(f"encoder_hid_dim_type {config['encoder_hid_dim_type']!r}")
    if takes:
        raise ConfigError(
            f"The UNet of this {index.get('_class_name')} takes {' and '.join(takes)}, which is not trained here.",
            f"Name {wanted}, or write a family for it in a plugin.",
        )
