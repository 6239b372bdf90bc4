"""Loading pipelines: by folder, with errors that say what is wrong, in the precision that was asked for."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.errors import ConfigError, UserError
from modalign.core.objectives.base import Needs
from modalign.core.reference import FrozenReference, ReferenceContext
from modalign.modalities.diffusion.loading import PipelineSource, load_denoiser, load_family
from modalign.modalities.image.modality import Image
from tests.modalities.image.pictures import batch_of, disturb


@pytest.fixture
def copied(pipeline_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of Stable Diffusion's folder that a test may change."""
    return Path(shutil.copytree(pipeline_folder("stable_diffusion"), tmp_path / "copied"))


def test_a_folder_of_another_name_is_offered(copied: Path) -> None:
    with pytest.raises(UserError, match=r"There is no folder.*Beside it: .*copied"):
        Image(str(copied.parent / "copid")).load()


def test_a_folder_that_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds none of the expected files: model_index\.json"):
        Image(str(tmp_path)).load()


def test_a_hub_id_without_a_network() -> None:
    with pytest.raises(UserError, match="not in the local cache"):
        Image("nobody/nothing").load()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("unet/config.json", r"Loading unet/config\.json of .*No such file"),
        ("unet/diffusion_pytorch_model.safetensors", "Loading the unet of"),
        ("vae/diffusion_pytorch_model.safetensors", "Loading the pipeline"),
        ("text_encoder/model.safetensors", "Loading the pipeline"),
        ("scheduler/scheduler_config.json", "Loading the pipeline"),
    ],
)
def test_a_missing_file(copied: Path, file: str, message: str) -> None:
    (copied / file).unlink()
    modality = Image(str(copied), cache="off")
    with pytest.raises(UserError, match=message):
        _ = modality.load(), modality.family


@pytest.mark.parametrize("file", ["model_index.json", "vae/config.json"])
def test_a_torn_file(copied: Path, file: str) -> None:
    (copied / file).write_text("{")
    with pytest.raises(UserError, match=f"Loading {file} of"):
        Image(str(copied), cache="off").load()


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "holds no table of fields"), ("{}", "has no field '_class_name', which this kind of model is built from")],
)
def test_a_file_without_fields(copied: Path, content: str, message: str) -> None:
    (copied / "model_index.json").write_text(content)
    with pytest.raises(ConfigError, match=rf"model_index\.json of .* {message}"):
        Image(str(copied), cache="off").load()


def test_torn_weights(copied: Path) -> None:
    (copied / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="Loading the unet of"):
        Image(str(copied), cache="off").load()


def test_pickled_weights_are_not_read(copied: Path) -> None:
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch.save({}, weights.with_suffix(".bin"))
    with pytest.raises(UserError, match="Loading the unet of"):
        Image(str(copied), cache="off").load()


def test_weights_that_are_missing_or_of_another_shape(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file({name: value for name, value in weights.items() if not name.startswith("conv_out")}, path)
    with pytest.raises(UserError, match=r"lacks 2 of the unet's weights, among them conv_out\.bias"):
        Image(str(copied), cache="off").load()
    save_file({**weights, "conv_out.bias": torch.zeros(5)}, path)
    with pytest.raises(UserError, match="Loading the unet of"):
        Image(str(copied), cache="off").load()


def test_a_variant(copied: Path, pipeline_folder: Callable[[str], Path]) -> None:
    for path in copied.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    expected = Image(str(pipeline_folder("stable_diffusion"))).load().state_dict()
    modality = Image(str(copied), variant="fp16", cache="off")
    assert all(torch.equal(value, expected[name]) for name, value in modality.load().state_dict().items())
    assert modality.family.pipeline.vae is not None
    with pytest.raises(UserError, match="Loading the unet of"):
        Image(str(copied), variant="ema", cache="off").load()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_precision(copied: Path, dtype: Any) -> None:
    source = PipelineSource(str(copied), dtype=dtype, encoder_dtype="float32")
    assert {p.dtype for p in load_denoiser(source).parameters()} == {getattr(torch, dtype)}
    pipeline = load_family(source).pipeline
    assert pipeline.unet is None
    for part in (pipeline.vae, pipeline.text_encoder):
        assert {p.dtype for p in part.parameters()} == {torch.float32}
        assert not part.training


@pytest.mark.parametrize("overflows", [True, False])
def test_a_vae_that_overflows_in_float16_stays_in_float32(copied: Path, overflows: bool) -> None:
    path = copied / "vae" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "force_upcast": overflows}))
    pipeline = load_family(PipelineSource(str(copied), encoder_dtype="float16")).pipeline
    assert pipeline.vae.dtype == (torch.float32 if overflows else torch.float16)
    assert pipeline.text_encoder.dtype == torch.float16


def test_another_folder_as_reference(copied: Path, tmp_path: Path) -> None:
    modality = Image(str(copied), cache="off")
    policy, batch = modality.load(), batch_of(modality)
    expected = modality.likelihood(policy, batch, Needs()).logps
    disturb(policy)
    other = modality.likelihood(policy, batch, Needs()).logps
    modality.export(policy, tmp_path / "other", "card")
    reference = FrozenReference(str(tmp_path / "other"))
    reference.prepare(ReferenceContext(modality, modality.load()))
    assert torch.equal(reference.likelihood(modality, policy, batch, Needs()).logps, other)
    assert (other - expected).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "difference"),
    [
        ("stable_diffusion_v", "prediction types epsilon and v_prediction"),
        ("stable_diffusion_xl", "families StableDiffusion and StableDiffusionXl"),
        ("stable_diffusion_pixels", "in_channels 4 and 3"),
    ],
)
def test_a_reference_of_another_kind_is_refused(
    pipeline_folder: Callable[[str], Path], name: str, difference: str
) -> None:
    with pytest.raises(UserError, match=difference):
        Image(str(pipeline_folder("stable_diffusion")), cache="off").load(str(pipeline_folder(name)))


HUB = """
from pathlib import Path
from modalign.modalities.image.modality import Image
from modalign.modalities.lora import Lora
modality = Image("org/tiny", revision="main", cache="off", lora=Lora(r=2))
policy = modality.load()
assert modality.resolution == 16
assert modality.sample(policy, ["a cat"], steps=1)[0][0].size == (16, 16)
modality.export(policy, Path("out"), "card")
"""


@pytest.mark.slow
def test_a_hub_id_in_the_cache(pipeline_folder: Callable[[str], Path], tmp_path: Path) -> None:
    repository, commit = tmp_path / "hub" / "models--org--tiny", "a" * 40
    shutil.copytree(pipeline_folder("stable_diffusion"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", HUB], check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors").is_file()


def test_workers_get_no_weights(copied: Path) -> None:
    modality = Image(str(copied), cache="off")
    fresh = pickle.dumps(modality)
    assert modality.family is not None
    used = pickle.dumps(modality)
    assert abs(len(used) - len(fresh)) < 1000
    assert len(used) < 10_000
    first, again = batch_of(modality).inputs, batch_of(pickle.loads(used)).inputs
    assert torch.equal(first["media"], again["media"])
