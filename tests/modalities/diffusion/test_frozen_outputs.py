"""Records of frozen encoders put together."""

import torch

from modalign.modalities.diffusion.frozen_outputs import stacked_prompts


def test_shorter_prompts_are_filled_up_under_autocast_too() -> None:
    """A step in mixed precision encodes what is not cached, and CPUs refuse to put float16 together there."""
    records = [
        {"states": torch.full((tokens, 2), 3.0, dtype=torch.float16), "mask": torch.ones(tokens, dtype=torch.bool)}
        for tokens in (3, 1)
    ]
    with torch.autocast("cpu", torch.bfloat16):
        found = stacked_prompts(records)
    assert found["mask"].tolist() == [[True, True, True], [True, False, False]]
    assert torch.equal(found["states"], found["mask"][..., None].half().expand(2, 3, 2) * 3)
