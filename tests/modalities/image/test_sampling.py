"""Pictures: the same for the same seed and prompt, as plain diffusers makes them, and nothing left behind."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora
from tests.modalities.image.pictures import PIPELINES, disturb, trainable

MakeImage = Callable[..., Image]
ALL = (*PIPELINES, "stable_diffusion_pixels")


def pixels(picture: Any) -> Any:
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("name", ALL)
def test_a_picture_does_not_depend_on_its_company(image: MakeImage, name: str) -> None:
    modality = image(name)
    policy = modality.load()
    prompts = ["a red circle", "a dog", "two trees"]
    together = modality.sample(policy, prompts, n=2, seed=3, steps=2)
    assert [[picture.size for picture in drawn] for drawn in together] == [[(16, 16)] * 2] * 3
    alone = modality.sample(policy, ["a dog"], n=1, seed=3, steps=2, batch_size=1)[0][0]
    assert abs(pixels(together[1][0]) - pixels(alone)).max() <= 1
    assert (pixels(together[1][0]) != pixels(together[1][1])).any()
    other = modality.sample(policy, ["a dog"], seed=4, steps=2)[0][0]
    assert (pixels(other) != pixels(alone)).any()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("guided", [False, True])
def test_plain_diffusers_makes_the_same_pixels(
    image: MakeImage, pipeline_folder: Callable[[str], Path], name: str, guided: bool
) -> None:
    from diffusers import DiffusionPipeline

    pixel_space = name.endswith("pixels")
    absent: dict[str, Any] = {"vae": None, "safety_checker": None, "feature_extractor": None} if pixel_space else {}
    pipeline = DiffusionPipeline.from_pretrained(pipeline_folder(name), **absent)
    pipeline.set_progress_bar_config(disable=True)
    modality = image(name)
    policy = modality.load()
    negative = guided and name != "flux"
    options = {"guidance_scale": 4.0 if guided else 1.0, **({"negative_prompt": "a dark photo"} if negative else {})}
    mine = modality.sample(policy, ["a red circle"], seed=5, steps=3, height=32, **options)[0][0]
    assert mine.size == (16, 32)
    scale = 8 if pixel_space else 1
    theirs = pipeline(
        ["a red circle"],
        generator=[generator(5, "sample", "a red circle", 0)],
        num_inference_steps=3,
        height=32 * scale,
        width=16 * scale,
        output_type="latent" if pixel_space else "pil",
        **(options | ({"negative_prompt": ["a dark photo"]} if negative else {})),
    ).images
    expected = pipeline.image_processor.postprocess(theirs, output_type="pil")[0] if pixel_space else theirs[0]
    assert (pixels(mine) == pixels(expected)).all()


def test_the_pipelines_own_defaults_hold(image: MakeImage, pipeline_folder: Callable[[str], Path]) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(pipeline_folder("stable_diffusion"))
    pipeline.set_progress_bar_config(disable=True)
    modality = image()
    mine = modality.sample(modality.load(), ["a cat"], seed=1)[0][0]
    source = generator(1, "sample", "a cat", 0)
    assert (pixels(mine) == pixels(pipeline("a cat", generator=source).images[0])).all()


def test_noise_added_on_the_way_is_keyed_too(image: MakeImage) -> None:
    modality = image()
    policy = modality.load()
    noisy = modality.sample(policy, ["a cat", "a dog"], steps=4, eta=1.0, seed=2)
    alone = modality.sample(policy, ["a dog"], steps=4, eta=1.0, seed=2)
    assert abs(pixels(noisy[1][0]) - pixels(alone[0][0])).max() <= 1
    assert (pixels(alone[0][0]) != pixels(modality.sample(policy, ["a dog"], steps=4, seed=2)[0][0])).any()


def test_the_policy_and_the_schedule_stay_as_they_are(image: MakeImage) -> None:
    modality = image(lora=Lora(r=2))
    policy: Any = modality.load()
    policy.get_base_model().mid_block.eval()
    names, modes = trainable(policy), [module.training for module in policy.modules()]
    scheduler = copy.deepcopy(dict(modality.family.pipeline.scheduler.__dict__))
    weights = {name: value.clone() for name, value in policy.state_dict().items()}
    modality.sample(policy, ["a cat"], steps=2)
    assert trainable(policy) == names
    assert [module.training for module in policy.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in policy.state_dict().items())
    after = modality.family.pipeline.scheduler.__dict__
    assert after.keys() == scheduler.keys()
    assert after["num_inference_steps"] is scheduler["num_inference_steps"] is None
    assert modality.family.pipeline.unet is None


def test_the_adapter_paints(image: MakeImage) -> None:
    modality = image(lora=Lora(r=2))
    policy = modality.load()
    before = modality.sample(policy, ["a cat"], steps=2)[0][0]
    disturb(policy, 0.3)
    after = modality.sample(policy, ["a cat"], steps=2)[0][0]
    assert (pixels(after) != pixels(before)).any()
    with modality.adapter_off(policy):
        assert (pixels(modality.sample(policy, ["a cat"], steps=2)[0][0]) == pixels(before)).all()


@pytest.mark.parametrize("name", PIPELINES)
def test_half_weights_paint_nearly_the_same(image: MakeImage, name: str) -> None:
    exact, half = image(name), image(name, dtype="bfloat16")
    first = exact.sample(exact.load(), ["a cat"], steps=2)[0][0]
    with torch.autocast("cpu", torch.bfloat16):
        second = half.sample(half.load(), ["a cat"], steps=2)[0][0]
    assert abs(pixels(first) - pixels(second)).mean() < 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("stable_diffusion", {"stepps": 3}, "no option 'stepps'.*(?i:did you mean 'steps')"),
        ("stable_diffusion", {"steps": 0}, "steps is 0"),
        ("stable_diffusion", {"steps": 2.5}, "steps is 2.5"),
        ("stable_diffusion", {"steps": True}, "steps is True"),
        ("stable_diffusion", {"batch_size": None}, "batch_size is None"),
        ("stable_diffusion", {"guidance_scale": -1.0}, "guidance_scale is -1.0"),
        ("stable_diffusion", {"guidance_scale": "high"}, "guidance_scale is 'high'"),
        ("stable_diffusion", {"guidance_scale": 1.0, "negative_prompt": "dark"}, "without guidance"),
        ("stable_diffusion", {"negative_prompt": 3}, "negative_prompt is 3"),
        ("stable_diffusion", {"eta": 2.0}, "eta is 2.0"),
        ("stable_diffusion", {"height": 10}, "height is 10.*multiples of 8.*8 or 16"),
        ("stable_diffusion_xl", {"width": 20}, "width is 20.*multiples of 8.*16 or 24"),
        ("stable_diffusion_3", {"width": 18}, "multiples of 4.*16 or 20"),
        ("stable_diffusion", {"n": 0}, "n is 0"),
        ("stable_diffusion_3", {"eta": 0.5}, "has no eta"),
        ("stable_diffusion_3", {"width": 128}, "at most 64"),
        ("flux", {"negative_prompt": "dark"}, "without one"),
        ("flux", {"width": 18}, "multiples of 4"),
    ],
)
def test_mistakes_are_refused(image: MakeImage, name: str, options: dict[str, Any], message: str) -> None:
    modality = image(name)
    with pytest.raises(UserError, match=rf"(?s){message}"):
        modality.sample(modality.load(), ["a cat"], **options)


@pytest.mark.parametrize(
    ("name", "trained", "sampled"),
    [
        ("stable_diffusion", 18, 16),
        ("stable_diffusion", 6, 8),
        ("stable_diffusion_xl", 18, 16),
        ("stable_diffusion_3", 20, 20),
        ("flux", 20, 20),
        ("stable_diffusion_pixels", 10, 10),
    ],
)
def test_without_a_size_the_pipeline_is_asked_for_one_it_makes(
    image: MakeImage, name: str, trained: int, sampled: int
) -> None:
    modality = image(name, resolution=trained)
    policy = modality.load()
    assert modality.sample(policy, ["a cat"], steps=1)[0][0].size == (sampled, sampled)


def test_frozen_parts_go_back_to_where_they_were(image: MakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    modality = image()
    placed: list[tuple[Any, torch.device]] = []
    monkeypatch.setattr(modality.family, "place", lambda parts, device: placed.append((tuple(parts), device)))
    modality.sample(modality.load(), ["a cat"], steps=1)
    here = torch.device("cpu")
    assert placed[0] == (("vae", "text_encoder"), here)
    assert placed[-2:] == [(("vae",), here), (("text_encoder",), here)]


class Part:
    """What knows its device and can be moved."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def to(self, device: torch.device) -> None:
        self.device = device


def test_each_part_has_a_place_of_its_own_also_after_an_error(image: MakeImage) -> None:
    family = image().family
    family.pipeline = SimpleNamespace(vae=Part("cpu"), text_encoder=Part("cuda:1"), other=Part("cpu"))
    pipeline = family.pipeline
    during: list[str] = []

    def fails() -> None:
        with family.placed(("vae", "text_encoder", "missing"), torch.device("cuda:0")):
            during.extend(str(part.device) for part in vars(pipeline).values())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert during == ["cuda:0", "cuda:0", "cpu"]
    assert [str(part.device) for part in (pipeline.vae, pipeline.text_encoder)] == ["cpu", "cuda:1"]


def test_prompts_are_texts(image: MakeImage) -> None:
    modality = image()
    with pytest.raises(UserError, match="no text"):
        modality.sample(modality.load(), [{"role": "user"}])


def test_flux_without_guidance_is_told_none(tmp_path: Path) -> None:
    from tests import tiny_pipelines

    modality = Image(
        str(tiny_pipelines.flux(tmp_path / "schnell", guidance_embeds=False, dynamic=False)), resolution=16
    )
    policy = modality.load()
    assert modality.sample(policy, ["a cat"], steps=1)[0][0].size == (16, 16)
    with pytest.raises(UserError, match="told none"):
        modality.sample(policy, ["a cat"], steps=1, guidance_scale=3.5)


def test_saved_as_png(image: MakeImage, tmp_path: Path) -> None:
    from PIL import Image as Pictures

    modality = image()
    picture = modality.sample(modality.load(), ["a cat"], steps=1)[0][0]
    path = modality.save(picture, tmp_path / "samples" / "step-1.5")
    assert path == tmp_path / "samples" / "step-1.5.png"
    assert (pixels(Pictures.open(path)) == pixels(picture)).all()
    assert modality.preview("a cat", picture) == "a cat (16 x 16 pixels)"
