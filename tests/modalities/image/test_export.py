"""Exported folders and LoRA files, loaded by plain diffusers, paint the same pixels as the policy."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.modalities.diffusion.stored_dtypes import weights_dtypes
from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora
from tests.modalities.image.pictures import PIPELINES, disturb

MakeImage = Callable[..., Image]


def pixels(picture: Any) -> Any:
    return np.asarray(picture).astype(int)


def plain(folder: Path, **options: Any) -> Any:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def painted(pipeline: Any) -> Any:
    source = generator(7, "sample", "a red circle", 0)
    call = pipeline("a red circle", generator=source, num_inference_steps=3, height=16, width=16)
    return pixels(call.images[0])


def mine(modality: Image, policy: torch.nn.Module) -> Any:
    return pixels(modality.sample(policy, ["a red circle"], seed=7, steps=3)[0][0])


@pytest.mark.parametrize("name", PIPELINES)
def test_a_full_pipeline(image: MakeImage, pipeline_folder: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    modality = image(name)
    policy = modality.load()
    before = mine(modality, policy)
    disturb(policy)
    modality.export(policy, tmp_path / "out", "# The card\n")
    assert policy.training
    assert (painted(plain(tmp_path / "out")) == mine(modality, policy)).all()
    assert (mine(modality, policy) != before).any()
    assert (tmp_path / "out" / "README.md").read_text() == "# The card\n"
    parts = {entry.name for entry in pipeline_folder(name).iterdir()}
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == parts | {"README.md"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_pixels_without_a_vae(image: MakeImage, tmp_path: Path) -> None:
    modality = image("stable_diffusion_pixels")
    policy = modality.load()
    disturb(policy)
    modality.export(policy, tmp_path / "out", "card")
    again = Image(str(tmp_path / "out"), resolution=16, cache="off")
    assert (mine(again, again.load()) == mine(modality, policy)).all()


LORAS = [Lora(r=4, alpha=16), Lora(r=4, use_rslora=True), Lora(r=2, target_modules="all-linear", init="gaussian")]
CASES = [(name, LORAS[0]) for name in PIPELINES] + [("stable_diffusion", lora) for lora in LORAS[1:]]


@pytest.mark.parametrize(("name", "lora"), CASES, ids=str)
def test_an_adapter_merged_and_alone(
    image: MakeImage, pipeline_folder: Callable[[str], Path], name: str, lora: Lora, tmp_path: Path
) -> None:
    modality = image(name, lora=lora)
    policy: Any = modality.load()
    base = mine(modality, policy)
    disturb(policy, 0.2)
    weights = {key: value.clone() for key, value in policy.state_dict().items()}
    expected = mine(modality, policy)
    assert (expected != base).any()

    modality.export(policy, tmp_path / "merged", "card")
    merged = mine(modality, copy.deepcopy(policy).merge_and_unload())
    assert (painted(plain(tmp_path / "merged")) == merged).all()
    assert abs(merged - expected).mean() < 1

    modality.export(policy, tmp_path / "adapter", "# The card\n", merge=False)
    assert {entry.name for entry in (tmp_path / "adapter").iterdir()} == {
        "README.md",
        "pytorch_lora_weights.safetensors",
    }
    pipeline = plain(pipeline_folder(name))
    pipeline.load_lora_weights(tmp_path / "adapter")
    assert (painted(pipeline) == expected).all()

    after = policy.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[key], value) for key, value in weights.items())


def test_parts_that_training_has_no_use_for_are_written_too(
    pipeline_folder: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    pipeline = plain(pipeline_folder("stable_diffusion"))
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**small, "image_size": 16, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=small, vision_config=vision, projection_dim=8))
    pipeline.register_modules(safety_checker=checker, feature_extractor=CLIPImageProcessor(size=16, crop_size=16))
    pipeline.register_to_config(requires_safety_checker=True)
    pipeline.save_pretrained(tmp_path / "source")
    caplog.clear()
    modality = Image(str(tmp_path / "source"), cache="off", encoder_dtype="bfloat16", dtype="bfloat16")
    assert modality.family.pipeline.feature_extractor is None
    assert modality.family.pipeline.safety_checker is None
    assert "safety checker" not in caplog.text
    modality.export(modality.load(), tmp_path / "out", "card")
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert index["feature_extractor"][1].startswith("CLIPImageProcessor")
    assert index["safety_checker"][1] == "StableDiffusionSafetyChecker"
    assert index["requires_safety_checker"]
    exported = plain(tmp_path / "out")
    # The frozen parts are the source's, not those that were rounded for training.
    assert all(
        torch.equal(value, exported.text_encoder.state_dict()[key])
        for key, value in pipeline.text_encoder.state_dict().items()
    )
    rounded = pipeline.unet.state_dict()["conv_in.weight"].bfloat16().float()
    assert torch.equal(exported.unet.state_dict()["conv_in.weight"], rounded)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_every_part_keeps_the_dtype_of_its_files(
    pipeline_folder: Callable[[str], Path], tmp_path: Path, variant: str | None
) -> None:
    pipeline = plain(pipeline_folder("stable_diffusion_3"))
    dtypes = {"vae": torch.bfloat16, "text_encoder": torch.float32, "text_encoder_3": torch.float16}
    for name in dtypes:
        getattr(pipeline, name).to(torch.float64)
    pipeline.save_pretrained(tmp_path / "source")  # what must not be read where there is a variant
    for name, dtype in dtypes.items():
        getattr(pipeline, name).to(dtype)
    pipeline.save_pretrained(tmp_path / "source", variant=variant)
    modality = Image(str(tmp_path / "source"), variant=variant, dtype="bfloat16")
    modality.export(modality.load(), tmp_path / "out", "card")
    assert weights_dtypes(tmp_path / "source", variant) == {
        **dtypes,
        "text_encoder_2": torch.float32,
        "transformer": torch.float32,
    }
    for name, dtype in {**dtypes, "text_encoder_2": torch.float32, "transformer": torch.bfloat16}.items():
        (file,) = (tmp_path / "out" / name).glob("*.safetensors")
        written = load_file(file)
        assert {value.dtype for value in written.values()} == {dtype}, name
        if name != "transformer":
            assert all(torch.equal(value, getattr(pipeline, name).state_dict()[key]) for key, value in written.items())


def test_an_existing_folder_is_replaced_only_on_request(image: MakeImage, tmp_path: Path) -> None:
    modality = image()
    policy = modality.load()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        modality.export(policy, tmp_path / "out", "card")
    modality.export(policy, tmp_path / "out", "card", overwrite=True)
    assert not (tmp_path / "out" / "notes.txt").exists()


def test_options_that_do_nothing_are_refused(image: MakeImage, tmp_path: Path) -> None:
    modality = image()
    policy = modality.load()
    with pytest.raises(UserError, match="this policy has none"):
        modality.export(policy, tmp_path / "out", "card", merge=False)
    with pytest.raises(UserError, match="no option 'merged'"):
        modality.export(policy, tmp_path / "out", "card", merged=True)
    with pytest.raises(UserError, match="modules_to_save"):
        image(lora=Lora(modules_to_save=["conv_out"])).check_export({"merge": False})
    assert modality.library({}) == "diffusers"
    assert list(tmp_path.iterdir()) == []


def test_modules_trained_in_full_are_merged(image: MakeImage, tmp_path: Path) -> None:
    modality = image(lora=Lora(r=2, modules_to_save=["conv_out"]))
    policy = modality.load()
    disturb(policy, 0.2)
    modality.export(policy, tmp_path / "out", "card")
    assert abs(painted(plain(tmp_path / "out")) - mine(modality, policy)).max() <= 1
