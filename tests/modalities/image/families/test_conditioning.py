"""What each family feeds its denoiser is, to the bit, what the diffusers pipeline feeds it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.modalities.image.families.base import ImageFamily
from modalign.modalities.image.families.flux import pack, patch_positions, unpack
from modalign.modalities.image.modality import Image
from tests.modalities.image.pictures import PIPELINES, picture

MakeImage = Callable[..., Image]
PROMPTS = ["a red circle", "two dogs in the dark house"]
T5 = {"stable_diffusion_3": {"max_sequence_length": 256}, "flux": {"max_sequence_length": 512}}


class StopError(Exception):
    """Ends a pipeline's call once the denoiser was called."""


def fed(denoiser: Any, call: Callable[[], object]) -> dict[str, Any]:
    """What a denoiser is given, by parameter name, the first time `call` calls it."""
    names, given = ("sample", "timestep", "encoder_hidden_states"), dict[str, Any]()

    def keep(module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given.update(zip(names, args, strict=False))
        given.update(kwargs)
        raise StopError

    handle = denoiser.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        call()
    except StopError:
        pass
    finally:
        handle.remove()
    return given


def plain(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tensors(given: dict[str, Any]) -> dict[str, Tensor]:
    flat = {**given, **(given.get("added_cond_kwargs") or {})}
    return {name: value for name, value in flat.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_denoiser_is_fed_as_by_the_pipeline(
    image: MakeImage, pipeline_folder: Callable[[str], Path], name: str
) -> None:
    modality = image(name)
    family = modality.family
    assert isinstance(family, ImageFamily)
    policy, pipeline = modality.load().eval(), plain(pipeline_folder(name))
    guidance = {"guidance_scale": 3.5 if name == "flux" else 1.0}
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    size = {"height": 16, "width": 16, "num_inference_steps": 2}
    given_latents = pack(latents) if name == "flux" else latents
    denoiser = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    expected = tensors(
        fed(denoiser, lambda: pipeline(PROMPTS, latents=given_latents, **size, **guidance, **T5.get(name, {})))
    )

    with torch.no_grad():
        text = family.encode_prompts(PROMPTS)
    noisy = expected["sample"] if "sample" in expected else expected["hidden_states"]
    noisy = unpack(noisy, 8, 8) if name == "flux" else noisy
    time = expected["timestep"].expand(2)
    numbers = torch.tensor([[16.0, 16.0, 0.0, 0.0, 16.0, 16.0]] * 2)
    found = tensors(fed(policy, lambda: family.predict(policy, noisy, time, text, numbers)))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], time if key == "timestep" else value.expand_as(found[key])), key


@pytest.mark.parametrize("name", PIPELINES[:3])  # FLUX samples without an unconditional prompt
def test_the_unconditional_prompt_is_the_pipelines_own(
    image: MakeImage, pipeline_folder: Callable[[str], Path], name: str
) -> None:
    family, pipeline = image(name).family, plain(pipeline_folder(name))
    three = {"prompt_2": None, "prompt_3": None} if name == "stable_diffusion_3" else {}
    with torch.no_grad():
        found = family.encode_prompts(["a red circle", ""])
        encoded = pipeline.encode_prompt(
            ["a red circle"], device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True, **three
        )
    # Alone and in a batch, float sums are taken in another order.
    torch.testing.assert_close(found["prompt_embeds"], torch.cat([encoded[0], encoded[1]]))
    if len(encoded) == 4:
        torch.testing.assert_close(found["pooled_prompt_embeds"], torch.cat([encoded[2], encoded[3]]))
    assert (found["prompt_embeds"][1] == 0).all() == (name == "stable_diffusion_xl")


def test_sdxl_is_told_the_true_size_crop_and_target(image: MakeImage, pipeline_folder: Callable[[str], Path]) -> None:
    from modalign.core.batch import CHOSEN, Candidate, Comparison

    modality, pipeline = image("stable_diffusion_xl"), plain(pipeline_folder("stable_diffusion_xl"))
    example = modality.encode(Comparison("a cat", (Candidate(picture(0, width=48, height=32), CHOSEN),)))
    numbers = modality.collate([example], [0]).inputs["numbers"]
    # 48 x 32 is scaled to 24 x 16, and the middle 16 of the 24 columns are kept.
    expected = pipeline._get_add_time_ids((32, 48), (0, 4), (16, 16), torch.float32, 8)
    assert torch.equal(numbers, expected)


def test_flux_packs_as_diffusers_does() -> None:
    from diffusers import FluxPipeline

    latents = torch.randn(2, 4, 6, 8)
    packed = FluxPipeline._pack_latents(latents, 2, 4, 6, 8)
    assert torch.equal(pack(latents), packed)
    assert torch.equal(unpack(packed, 6, 8), latents)
    assert torch.equal(FluxPipeline._unpack_latents(packed, 6 * 8, 8 * 8, 8), unpack(packed, 6, 8))
    assert torch.equal(patch_positions(3, 4), FluxPipeline._prepare_latent_image_ids(1, 3, 4, "cpu", torch.int64))


@pytest.mark.parametrize("guidance", [None, 1.0])
def test_flux_is_told_its_guidance(image: MakeImage, guidance: float | None) -> None:
    modality = image("flux", guidance=guidance)
    policy, family = modality.load(), modality.family
    with torch.no_grad():
        text = family.encode_prompts(["a cat"])
    given = fed(policy, lambda: family.predict(policy, torch.zeros(1, 4, 8, 8), torch.ones(1), text, None))
    assert given["guidance"].tolist() == [guidance or 3.5]
    assert given["timestep"].tolist() == [1.0]


@pytest.mark.parametrize("name", PIPELINES)
def test_clean_latents_are_the_vaes_shifted_and_scaled(
    image: MakeImage, pipeline_folder: Callable[[str], Path], name: str
) -> None:
    family, vae = image(name).family, plain(pipeline_folder(name)).vae
    media = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        mean, std = family.encode_clean(media)
        posterior = vae.encode(media).latent_dist
    shift = vae.config.shift_factor or 0.0
    assert (shift != 0) == (name in ("stable_diffusion_3", "flux"))
    assert torch.equal(mean, (posterior.mean - shift) * vae.config.scaling_factor)
    assert torch.equal(std, posterior.std * vae.config.scaling_factor)


def test_pixels_are_their_own_latents(image: MakeImage) -> None:
    family = image("stable_diffusion_pixels").family
    assert isinstance(family, ImageFamily)
    media = torch.rand(2, 3, 8, 8)
    mean, std = family.encode_clean(media)
    assert torch.equal(mean, media)
    assert not std.any()
    assert torch.equal(family.decode(media), media)
