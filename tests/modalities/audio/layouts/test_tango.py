"""Tango's published layout becomes a pipeline of equal latents, predictions, waveforms and prompt encodings."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalign.core.errors import ConfigError, UserError
from modalign.modalities.audio.layouts.compvis import HIFIGAN
from modalign.modalities.audio.layouts.tango import FRAMES, SCHEDULERS, UNETS
from modalign.modalities.audio.modality import Audio
from modalign.modalities.audio.pipelines.mel import Mel
from modalign.modalities.diffusion.loading import PipelineSource
from tests.modalities.audio.pipelines.test_mel import slaney_filters
from tests.tiny_pipelines import t5_text, t5_tokenizer

MELS = 16
STFT = {
    "filter_length": 1024,
    "hop_length": 160,
    "win_length": 1024,
    "n_mel_channels": MELS,
    "sampling_rate": 16000,
    "mel_fmin": 0,
    "mel_fmax": 8000,
}
VAE = {
    "image_key": "fbank",
    "subband": 1,
    "embed_dim": 4,
    "time_shuffle": 1,
    "ddconfig": {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "downsample_time": False,
        "in_channels": 1,
        "out_ch": 1,
        "ch": 32,
        "ch_mult": [1, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
    "scale_factor": 0.9227914214134216,
}


class Published:
    """What a folder was written from."""

    def __init__(self, folder: Path) -> None:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

        torch.manual_seed(8)
        self.folder = folder
        folder.mkdir()
        self.tokenizer = t5_tokenizer()
        self.text_encoder = t5_text(self.tokenizer, 16)
        unet = {
            **UNETS["diffusion_model_config.json"],
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": [8, 16],
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
            "layers_per_block": 1,
            "attention_head_dim": [1, 2],
            "norm_num_groups": 4,
            "cross_attention_dim": 16,
        }
        self.unet = UNet2DConditionModel(**unet).eval()
        self.vae = AutoencoderKL(
            in_channels=1,
            out_channels=1,
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            layers_per_block=1,
        ).eval()
        self.vocoder = SpeechT5HifiGan(
            SpeechT5HifiGanConfig(model_in_dim=MELS, upsample_initial_channel=32, **HIFIGAN)
        ).eval()
        for part in self.vocoder.modules():
            if isinstance(part, nn.Conv1d | nn.ConvTranspose1d):
                nn.init.kaiming_normal_(part.weight)
        self._write(unet)

    def _write(self, unet: dict[str, Any]) -> None:
        text = self.folder / "flan-t5-tiny"
        self.text_encoder.save_pretrained(text)
        (text / "model.safetensors").unlink()  # its weights are the model's own
        self.tokenizer.save_pretrained(text)
        main = {
            "text_encoder_name": "flan-t5-tiny",
            "scheduler_name": "stabilityai/stable-diffusion-2-1",
            "unet_model_name": None,
            "unet_model_config_path": "configs/diffusion_model_config.json",
            "snr_gamma": 5.0,
        }
        for name, config in (
            ("diffusion_model_config", unet),
            ("main_config", main),
            ("vae_config", VAE),
            ("stft_config", STFT),
        ):
            (self.folder / f"{name}.json").write_text(json.dumps(config))
        weights = {f"unet.{name}": values for name, values in self.unet.state_dict().items()}
        weights |= {f"text_encoder.{name}": values for name, values in self.text_encoder.state_dict().items()}
        torch.save(weights, self.folder / "pytorch_model_main.bin")
        torch.save({**compvis(self.vae), **hifigan(self.vocoder)}, self.folder / "pytorch_model_vae.bin")
        basis = torch.from_numpy(slaney_filters(Mel(mels=MELS))).float()
        torch.save(
            {"mel_basis": basis, "stft_fn.forward_basis": torch.zeros(2), "stft_fn.inverse_basis": torch.zeros(2)},
            self.folder / "pytorch_model_stft.bin",
        )


def compvis(vae: Any) -> dict[str, Tensor]:
    """A VAE's weights in AudioLDM's names, by a walk through its modules."""
    found: dict[str, Tensor] = {}

    def put(prefix: str, module: nn.Module) -> None:
        found.update({f"{prefix}.{name}": values for name, values in module.state_dict().items()})

    def resnet(prefix: str, block: Any) -> None:
        for name in ("norm1", "conv1", "norm2", "conv2"):
            put(f"{prefix}.{name}", getattr(block, name))
        if block.conv_shortcut is not None:
            put(f"{prefix}.nin_shortcut", block.conv_shortcut)

    def middle(prefix: str, block: Any) -> None:
        resnet(f"{prefix}.block_1", block.resnets[0])
        resnet(f"{prefix}.block_2", block.resnets[1])
        attention = block.attentions[0]
        put(f"{prefix}.attn_1.norm", attention.group_norm)
        linear = {"q": attention.to_q, "k": attention.to_k, "v": attention.to_v, "proj_out": attention.to_out[0]}
        for name, layer in linear.items():
            found[f"{prefix}.attn_1.{name}.weight"] = layer.weight[:, :, None, None]
            found[f"{prefix}.attn_1.{name}.bias"] = layer.bias

    for side in ("encoder", "decoder"):
        part = getattr(vae, side)
        put(f"{side}.conv_in", part.conv_in)
        put(f"{side}.norm_out", part.conv_norm_out)
        put(f"{side}.conv_out", part.conv_out)
        middle(f"{side}.mid", part.mid_block)
    for number, block in enumerate(vae.encoder.down_blocks):
        for place, each in enumerate(block.resnets):
            resnet(f"encoder.down.{number}.block.{place}", each)
        if block.downsamplers:
            put(f"encoder.down.{number}.downsample.conv", block.downsamplers[0].conv)
    for number, block in enumerate(reversed(vae.decoder.up_blocks)):
        for place, each in enumerate(block.resnets):
            resnet(f"decoder.up.{number}.block.{place}", each)
        if block.upsamplers:
            put(f"decoder.up.{number}.upsample.conv", block.upsamplers[0].conv)
    put("quant_conv", vae.quant_conv)
    put("post_quant_conv", vae.post_quant_conv)
    return {name: values.detach().clone() for name, values in found.items()}


def hifigan(vocoder: Any) -> dict[str, Tensor]:
    names = {"conv_pre": vocoder.conv_pre, "conv_post": vocoder.conv_post}
    names |= {f"ups.{number}": layer for number, layer in enumerate(vocoder.upsampler)}
    names |= {f"resblocks.{number}": block for number, block in enumerate(vocoder.resblocks)}
    return {
        f"vocoder.{name}.{key}": values.detach().clone()
        for name, part in names.items()
        for key, values in part.state_dict().items()
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("published") / "tango")


@pytest.fixture
def copied(published: Published, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published.folder, tmp_path / "tango"))


def test_every_part_is_equal(published: Published) -> None:
    modality = Audio(str(published.folder), cache="off")
    policy, pipeline = modality.load().eval(), modality.family.pipeline
    source = torch.Generator().manual_seed(0)
    noisy, text = torch.randn(2, 4, 12, 8, generator=source), torch.randn(2, 5, 16, generator=source)
    mel = torch.randn(2, 1, 24, MELS, generator=source) - 3
    with torch.no_grad():
        time = torch.tensor([3, 700])
        assert torch.equal(policy(noisy, time, text).sample, published.unet(noisy, time, text).sample)
        ours, theirs = pipeline.vae.encode(mel).latent_dist, published.vae.encode(mel).latent_dist
        assert torch.equal(ours.mean, theirs.mean)
        assert torch.equal(ours.std, theirs.std)
        assert torch.equal(pipeline.vae.decode(noisy).sample, published.vae.decode(noisy).sample)
        assert torch.equal(pipeline.vocoder(mel[:, 0]), published.vocoder(mel[:, 0]))
        tokens = published.tokenizer("a red circle", return_tensors="pt").input_ids
        expected = published.text_encoder(tokens).last_hidden_state
        assert torch.equal(modality.family.encode_prompts(["a red circle"])["prompt_embeds"], expected)
    assert pipeline.vae.config.scaling_factor == VAE["scale_factor"]
    assert pipeline.front_end == Mel(mels=MELS)
    assert published.vocoder(mel[:, 0]).std() > 1e-2


def test_the_whole_path_is_the_published_codes(published: Published) -> None:
    """Media -> latents, and latents -> waveform, as its `get_first_stage_encoding` and `decode_to_waveform` have it."""
    modality = Audio(str(published.folder), cache="off", seconds=0.2)
    source = torch.Generator().manual_seed(1)
    samples = 0.2 * torch.randn(1, 1, 3200, generator=source)
    padded = nn.functional.pad(samples, (512, 512), mode="reflect")[0, 0].unfold(0, 1024, 160)
    magnitudes = torch.fft.rfft(padded * torch.hann_window(1024)).abs()
    basis = torch.load(published.folder / "pytorch_model_stft.bin")["mel_basis"]
    mel = (magnitudes @ basis.T).clamp(min=1e-5).log()[None, None, :20]
    with torch.no_grad():
        mean, std = modality.family.encode_clean(samples)
        posterior = published.vae.encode(mel).latent_dist
        torch.testing.assert_close(mean, posterior.mean * VAE["scale_factor"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(std, posterior.std * VAE["scale_factor"], rtol=1e-4, atol=1e-4)
        decoded = published.vae.decode(mean / VAE["scale_factor"]).sample  # type: ignore[operator]
        expected = published.vocoder(decoded[:, 0])
        found = modality.family.decode(mean)  # type: ignore[attr-defined]
    torch.testing.assert_close(found[:, 0], expected[:, :3200])


def test_it_is_made_for_what_its_code_samples(published: Published) -> None:
    modality = Audio(str(published.folder), cache="off")
    assert modality.geometry.hop == 2 * 160  # the tiny VAE halves once
    assert modality.seconds == pytest.approx(256 * 2 * 160 / 16000)
    process = modality.family.process
    assert process.prediction == "v_prediction"
    first, last = torch.tensor([0.0, 0.9999], dtype=torch.float64).unbind()
    noise = [process.corrupt(torch.ones(1, 1), torch.ones(1, 1), at[None]).noise_level.item() for at in (first, last)]
    assert noise[0] ** 2 == pytest.approx(0.00085, rel=1e-4)
    assert noise[1] ** 2 == pytest.approx(1 - 0.0047, abs=2e-4)
    (clip,) = modality.sample(modality.load(), ["a cat"], steps=1, seconds=0.2)[0]
    assert clip.samples.shape == (1, 3200)


def test_published_shapes(tmp_path: Path) -> None:
    """From the published values alone: 866 million weights, latents (8, 256, 16) for 10.24 seconds."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**{**UNETS["diffusion_model_config.json"], "sample_size": [FRAMES, 16]})
        vae = AutoencoderKL(
            in_channels=1,
            out_channels=1,
            block_out_channels=(128, 256, 512),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=8,
            layers_per_block=2,
        )
        latents = vae.encode(torch.empty(1, 1, 1024, 64)).latent_dist.mean
    assert sum(values.numel() for values in unet.parameters()) == 865_933_768
    assert latents.shape == (1, 8, 256, 16)
    vocoder = {"model_in_dim": 64, "sampling_rate": 16000, "upsample_initial_channel": 1024, **HIFIGAN}
    index = {
        "_class_name": "TangoPipeline",
        **{part: ["diffusers", "X"] for part in ("vae", "unet", "vocoder", "text_encoder")},
    }
    for name, config in (("unet", unet.config), ("vae", vae.config), ("vocoder", vocoder)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(dict(config)))
    for pipeline in ("TangoPipeline", "AudioLDM2Pipeline"):
        others = {"text_encoder_2": ["transformers", "T5EncoderModel"]} if pipeline != "TangoPipeline" else {}
        more = {part: ["transformers", "X"] for part in ("projection_model", "language_model")}
        (tmp_path / "model_index.json").write_text(
            json.dumps({**index, **(more if others else {}), **others, "_class_name": pipeline})
        )
        geometry = Audio(str(tmp_path), cache="off").geometry
        assert geometry.seconds == pytest.approx(10.24)
        assert (geometry.rate, geometry.channels, geometry.hop) == (16000, 1, 640)
        assert (geometry.frames(10.24), geometry.samples(10.24), geometry.numbers) == (256, 163840, 8 * 16)
        assert geometry.latents(10.24) == 32_768
        assert geometry.frames(10.0) == 250


class Touch:
    """A pickle that runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickled_code_is_not_run(copied: Path, tmp_path: Path) -> None:
    torch.save({"mel_basis": Touch(tmp_path / "run")}, copied / "pytorch_model_stft.bin")
    with pytest.raises(UserError, match=r"pytorch_model_stft\.bin holds more than tensors"):
        PipelineSource(str(copied)).resolved()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("stft_config.json", {"mel_fmax": 7000}, "has other mel filters than"),
        ("main_config.json", {"unet_model_name": "runwayml/stable-diffusion-v1-5"}, "between layers of its own"),
        ("main_config.json", {"unet_model_config_path": "configs/mine.json"}, "UNet's configuration mine.json"),
        ("main_config.json", {"text_encoder_name": "nobody/t5"}, "'nobody/t5' is not a folder"),
        ("main_config.json", {"scheduler_name": "nobody/sd"}, "'nobody/sd' is not a folder"),
        ("vae_config.json", {"embed_dim": 8}, "embed_dim 8 beside z_channels 4"),
        ("vae_config.json", {"subband": 2}, "subband 2"),
        ("diffusion_model_config.json", {"cross_attention_dim": 24}, "size mismatch"),
    ],
)
def test_other_models_are_refused(copied: Path, file: str, values: dict[str, Any], message: str) -> None:
    config = json.loads((copied / file).read_text())
    (copied / file).write_text(json.dumps({**config, **values}))
    with pytest.raises(UserError, match=message):
        PipelineSource(str(copied)).resolved()


@pytest.mark.parametrize(
    ("file", "table", "field"),
    [("main", None, "scheduler_name"), ("stft", None, "mel_fmax"), ("vae", "ddconfig", "ch")],
)
def test_a_field_that_a_configuration_lacks_is_told(copied: Path, file: str, table: str | None, field: str) -> None:
    path = copied / f"{file}_config.json"
    config = json.loads(path.read_text())
    del (config if table is None else config[table])[field]
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=rf"tango/{file}_config\.json has no field '{field}'"):
        PipelineSource(str(copied)).resolved()


def test_a_scheduler_on_this_machine(copied: Path, audio_folder: Callable[[str], Path]) -> None:
    config = json.loads((copied / "main_config.json").read_text())
    scheduler = str(audio_folder("mel.audioldm2"))
    (copied / "main_config.json").write_text(json.dumps({**config, "scheduler_name": scheduler}))
    found = Audio(str(copied), cache="off").family
    assert type(found.pipeline.scheduler).__name__ == "DDPMScheduler"
    assert found.process.prediction == "epsilon"
    assert SCHEDULERS["stabilityai/stable-diffusion-2-1"]["prediction_type"] == "v_prediction"


HUB = """
from modalign.modalities.audio.modality import Audio
modality = Audio("org/tango", revision="main", cache="off", seconds=0.2)
(clip,) = modality.sample(modality.load(), ["a cat"], steps=1)[0]
assert clip.samples.shape == (1, 3200)
"""


@pytest.mark.slow
def test_a_hub_id_in_the_cache(published: Published, tmp_path: Path) -> None:
    repository, commit = tmp_path / "hub" / "models--org--tango", "a" * 40
    snapshot = repository / "snapshots" / commit
    shutil.copytree(published.folder, snapshot)
    config = json.loads((snapshot / "main_config.json").read_text())
    name = str(published.folder / "flan-t5-tiny")
    (snapshot / "main_config.json").write_text(json.dumps({**config, "text_encoder_name": name}))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    own = {"HF_HUB_CACHE": str(tmp_path / "hub"), "MODALIGN_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", HUB], check=True, cwd=tmp_path, env={**os.environ, **own})
    (found,) = (path for path in (tmp_path / "cache" / "pipelines").iterdir() if path.is_dir())
    assert (found / "model_index.json").is_file()
