"""Which family serves a pipeline, what its scheduler says, and which models are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.errors import UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.image.families.stable_diffusion import StableDiffusion
from modalign.modalities.image.modality import Image
from modalign.plugins.hookspecs import Register, hookimpl
from tests import tiny_pipelines
from tests.modalities.image.pictures import PIPELINES, batch_of

MakeImage = Callable[..., Image]


@pytest.mark.parametrize(
    ("name", "family", "prediction"),
    [
        ("stable_diffusion", "StableDiffusion", "epsilon"),
        ("stable_diffusion_v", "StableDiffusion", "v_prediction"),
        ("stable_diffusion_pixels", "StableDiffusion", "epsilon"),
        ("stable_diffusion_xl", "StableDiffusionXl", "epsilon"),
        ("stable_diffusion_3", "StableDiffusion3", "flow"),
        ("flux", "Flux", "flow"),
    ],
)
def test_the_pipelines_class_chooses_the_family(image: MakeImage, name: str, family: str, prediction: str) -> None:
    modality = image(name)
    assert type(modality.family).__name__ == family
    assert modality.family.process.prediction == prediction
    expected = "logit_normal" if prediction == "flow" else "uniform"
    assert modality.settings.timesteps.distribution == expected


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_weights_give_nearly_the_same_errors(image: MakeImage, name: str, dtype: Any) -> None:
    exact, other = image(name), image(name, dtype=dtype)
    with torch.no_grad():
        expected = exact.likelihood(exact.load(), batch_of(exact), Needs()).logps
        policy = other.load()
        found = other.likelihood(policy, batch_of(other), Needs()).logps
    assert next(policy.parameters()).dtype == getattr(torch, dtype)
    assert found.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    tolerance = 1e-5 if dtype == "float64" else 2e-2
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize(
    "encoders",
    [(False, True, True), (True, False, True), (True, True, False), (False, False, True), (False, False, False)],
)
def test_sd3_runs_without_some_encoders(tmp_path: Path, encoders: tuple[bool, bool, bool]) -> None:
    folder = tiny_pipelines.stable_diffusion_3(tmp_path / "sd3", encoders=encoders)
    whole = Image(str(tiny_pipelines.stable_diffusion_3(tmp_path / "whole")), resolution=16, cache="off")
    modality = Image(str(folder), resolution=16, cache="off")
    with torch.no_grad():
        found = modality.family.encode_prompts(["a cat"])
        full = whole.family.encode_prompts(["a cat"])
    tokens, width = tiny_pipelines.PROMPT_TOKENS, tiny_pipelines.TEXT_WIDTH
    for number, there in enumerate(encoders[:2]):
        columns = slice(number * width, (number + 1) * width)
        for name, values in (
            ("prompt_embeds", found["prompt_embeds"][:, -256 - tokens : -256]),
            ("pooled_prompt_embeds", found["pooled_prompt_embeds"]),
        ):
            reference = full[name][:, :-256] if name == "prompt_embeds" else full[name]
            part = values[..., columns]
            assert torch.equal(part, reference[..., columns] if there else torch.zeros_like(part))
    t5 = found["prompt_embeds"][:, -256:]
    assert torch.equal(t5, full["prompt_embeds"][:, -256:] if encoders[2] else torch.zeros_like(t5))
    assert modality.likelihood(modality.load(), batch_of(modality), Needs()).logps.isfinite().all()


class Renamed(StableDiffusion):
    """A stranger's family, for a pipeline class of another name."""

    pipelines = frozenset({"StableDiffusionImg2ImgPipeline"})


class Plugin:
    """A stranger's plugin."""

    @hookimpl
    def modalign_register_families(self, register: Register) -> None:
        register("renamed", f"{__name__}:Renamed", summary="a stranger's")
        register("broken", "no_such_module:Family", summary="one that cannot be imported")


def changed(source: Path, target: Path, file: str, **values: Any) -> Path:
    """A copy of a pipeline's folder with other values in one of its JSON files."""
    shutil.copytree(source, target)
    path = target / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return target


def test_a_plugin_adds_a_family(
    monkeypatch: pytest.MonkeyPatch, pipeline_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from modalign.plugins import manager

    folder = changed(
        pipeline_folder("stable_diffusion"),
        tmp_path / "m",
        "model_index.json",
        _class_name="StableDiffusionImg2ImgPipeline",
    )
    with pytest.raises(UserError, match=r"which no family of models serves; served are .*FluxPipeline"):
        Image(str(folder), cache="off").load()
    found = manager.discover({"stranger": Plugin()})
    monkeypatch.setattr(manager, "registry", lambda: found)
    modality = Image(str(folder), resolution=16, cache="off")
    assert type(modality.family) is Renamed
    assert modality.likelihood(modality.load(), batch_of(modality), Needs()).logps.isfinite().all()
    chosen = Image(str(pipeline_folder("stable_diffusion")), family="renamed", resolution=16, cache="off")
    assert type(chosen.family) is Renamed


def test_a_family_that_nobody_registered_is_refused_at_once(image: MakeImage) -> None:
    with pytest.raises(UserError, match="no family is called 'stable_difusion'; did you mean 'stable_diffusion'"):
        image(family="stable_difusion")


@pytest.mark.parametrize(
    ("name", "file", "values", "message"),
    [
        ("stable_diffusion", "unet/config.json", {"in_channels": 9}, "9 channels for 4"),
        ("stable_diffusion", "unet/config.json", {"class_embed_type": "timestep"}, "class labels"),
        ("stable_diffusion", "unet/config.json", {"time_cond_proj_dim": 8}, "latent consistency"),
        ("stable_diffusion", "unet/config.json", {"addition_embed_type": "text_time"}, "in place of None"),
        ("stable_diffusion", "unet/config.json", {"encoder_hid_dim_type": "image_proj"}, "encoder_hid_dim_type"),
        ("stable_diffusion_xl", "unet/config.json", {"addition_embed_type": None}, "in place of 'text_time'"),
        (
            "stable_diffusion",
            "vae/config.json",
            {"latent_channels": 8},
            "takes 4 channels, and its VAE makes latents of 8",
        ),
        ("stable_diffusion", "model_index.json", {"text_encoder": [None, None]}, "has no text_encoder"),
        ("stable_diffusion", "model_index.json", {"vae": [None, None]}, "takes 4 channels, and pixels without a VAE"),
        ("stable_diffusion_xl", "model_index.json", {"vae": [None, None]}, "has no vae"),
        ("flux", "model_index.json", {"text_encoder_2": [None, None]}, "has no text_encoder_2"),
        ("stable_diffusion", "model_index.json", {"unet": [None, None]}, "has no unet"),
        ("stable_diffusion", "model_index.json", {"unet": ["my_module", "MyUNet"]}, "own is not run"),
        ("stable_diffusion", "unet/config.json", {"sample_size": None}, "does not say which resolution"),
    ],
)
def test_other_models_are_refused(
    pipeline_folder: Callable[[str], Path], tmp_path: Path, name: str, file: str, values: dict[str, Any], message: str
) -> None:
    folder = changed(pipeline_folder(name), tmp_path / "model", file, **values)
    with pytest.raises(UserError, match=message):
        Image(str(folder), cache="off").load()


def test_sdxls_refiner_is_refused(pipeline_folder: Callable[[str], Path], tmp_path: Path) -> None:
    source = pipeline_folder("stable_diffusion_xl")
    folder = changed(source, tmp_path / "m", "unet/config.json", projection_class_embeddings_input_dim=8 + 5 * 8)
    with pytest.raises(UserError, match="told 5 numbers of a picture"):
        _ = Image(str(folder), cache="off").family


def test_guidance_is_for_models_that_are_told_one(image: MakeImage) -> None:
    with pytest.raises(UserError, match=r"modality\.guidance is 2\.0"):
        image(guidance=2.0).load()
