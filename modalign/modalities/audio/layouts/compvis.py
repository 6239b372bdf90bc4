"""The parts of AudioLDM's and Tango's published checkpoints, in the names that diffusers and transformers give them."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modalign.core.errors import UserError

HIFIGAN = {
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "leaky_relu_slope": 0.1,
    "normalize_before": False,
}
"""The vocoder in AudioLDM's code; checkpoints tell its widths alone."""

_RENAMED = (
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
    (r"\.mid\.block_([12])\.", lambda found: f".mid_block.resnets.{int(found[1]) - 1}."),
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
    (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
    (r"\.down\.(\d+)\.block\.", r".down_blocks.\1.resnets."),
    (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
    (r"\.up\.(\d+)\.block\.", r".up_blocks.\1.resnets."),
    (r"\.up\.(\d+)\.upsample\.", r".up_blocks.\1.upsamplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
)
_VAE = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def autoencoder(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    """A diffusers `AutoencoderKL`.

    Args:
        config: `ddconfig`, `embed_dim`, `subband` and `scale_factor` of AudioLDM's class of that name.
        weights: Its state; other parts in it are left out.

    Raises:
        UserError: It is built in a way that diffusers' class is not.
    """
    from diffusers import AutoencoderKL

    built = config["ddconfig"]
    _check(config, built)
    widths = [built["ch"] * factor for factor in built["ch_mult"]]
    vae = AutoencoderKL(
        in_channels=built["in_channels"],
        out_channels=built["out_ch"],
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=tuple(widths),
        layers_per_block=built["num_res_blocks"],
        latent_channels=built["z_channels"],
        sample_size=built["resolution"],
        scaling_factor=float(config.get("scale_factor", 1.0)),
    )
    own = {name: values for name, values in weights.items() if name.startswith(_VAE)}
    vae.load_state_dict(dict(_renamed(name, values, len(widths)) for name, values in own.items()))
    return vae.eval()


def vocoder(rate: int, weights: Mapping[str, Tensor], prefix: str) -> Any:
    """A transformers `SpeechT5HifiGan`.

    Args:
        rate: Samples a second.
        weights: The state of AudioLDM's generator; other parts in it are left out.
        prefix: How its names begin.
    """
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    own = {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}
    initial, mels, _ = own["conv_pre.weight"].shape
    model = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(model_in_dim=mels, sampling_rate=rate, upsample_initial_channel=initial, **HIFIGAN)
    )
    named = {re.sub(r"^ups\.", "upsampler.", name): values for name, values in own.items()}
    model.load_state_dict({"mean": torch.zeros(mels), "scale": torch.ones(mels), **named})
    return model.eval()


def _check(config: Mapping[str, Any], built: Mapping[str, Any]) -> None:
    others = []
    if config["embed_dim"] != built["z_channels"]:
        others.append(f"embed_dim {config['embed_dim']} beside z_channels {built['z_channels']}")
    if int(config.get("subband", 1)) != 1:
        others.append(f"subband {config['subband']}")
    others += [f"{name} {built[name]}" for name in ("attn_resolutions", "downsample_time") if built.get(name)]
    if others:
        raise UserError(
            f"The VAE of this model has {', '.join(others)}, which diffusers' AutoencoderKL has not.",
            "Name a model that was published with Tango or Tango 2.",
        )


def _renamed(name: str, values: Tensor, blocks: int) -> tuple[str, Tensor]:
    """Blocks of the decoder are counted from the other end, and attention is no convolution."""
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    name = re.sub(r"\.up_blocks\.(\d+)\.", lambda found: f".up_blocks.{blocks - 1 - int(found[1])}.", name)
    return name, values[:, :, 0, 0] if ".attentions." in name and values.dim() == 4 else values
