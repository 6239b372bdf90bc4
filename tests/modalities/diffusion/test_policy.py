"""A denoiser as a policy: no dropout of its own, so that policy and reference start as one network."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from modalign.modalities.diffusion.policy import trainable_policy
from modalign.modalities.lora import Lora


@pytest.mark.parametrize("lora", [None, Lora(r=2, dropout=0.25)])
def test_a_denoiser_loses_its_own_dropout(lora: Lora | None) -> None:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
        dropout=0.5,
    )
    own = [module for module in unet.modules() if isinstance(module, nn.Dropout)]
    assert any(module.p for module in own)
    policy = trainable_policy(unet, lora, ("to_q",), gradient_checkpointing=False)
    assert policy.training
    assert not any(module.p for module in own)
    adapter = [m.p for m in policy.modules() if isinstance(m, nn.Dropout) and m not in own]
    assert set(adapter) == ({0.25} if lora else set())
