"""Latents of published models: their shapes follow from configurations, without weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from modalign.core.errors import ConfigError
from modalign.modalities.audio.families.ace_step import AceStep
from modalign.modalities.audio.families.audioldm2 import AudioLdm2
from modalign.modalities.audio.families.base import AudioFamily
from modalign.modalities.audio.families.longcat_audio import LongCatAudio
from modalign.modalities.audio.families.stable_audio import StableAudio
from modalign.modalities.audio.families.stable_audio_3 import StableAudio3
from modalign.modalities.audio.families.tangoflux import TangoFlux
from modalign.modalities.diffusion.loading import PipelineSource

OOBLECK = {
    "audio_channels": 2,
    "decoder_input_channels": 64,
    "downsampling_ratios": [2, 4, 4, 8, 8],
    "sampling_rate": 44100,
}
OPEN = {"in_channels": 64, "sample_size": 1024}
SAME = {"audio_channels": 2, "patch_size": 256, "encoder_strides": [16], "latent_dim": 256, "sampling_rate": 44100}
KL = {"block_out_channels": [128, 256, 512], "latent_channels": 8}
HIFIGAN = {"model_in_dim": 64, "sampling_rate": 16000, "upsample_rates": [5, 4, 2, 2, 2]}
LONGCAT = {"in_channels": 1, "latent_dim": 64, "downsampling_ratio": 2048, "sample_rate": 24000}


def source(folder: Path, configs: dict[str, dict[str, Any]], **values: Any) -> PipelineSource:
    """A pipeline's folder of configurations alone."""
    index = {"_class_name": "AnyPipeline", **{part: ["diffusers", "AnyModel"] for part in configs}, **values}
    (folder / "model_index.json").write_text(json.dumps(index))
    for part, config in configs.items():
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(json.dumps(config))
    return PipelineSource(str(folder))


@pytest.mark.parametrize(
    ("family", "configs", "seconds", "frames", "numbers", "rate", "channels"),
    [
        (
            StableAudio,
            {"transformer": OPEN, "vae": OOBLECK},
            47.55,
            1024,
            64,
            44100,
            2,
        ),
        (TangoFlux, {"transformer": {"in_channels": 64}, "vae": OOBLECK}, 29.95, 645, 64, 44100, 2),
        (
            StableAudio3,
            {"transformer": {"io_channels": 256, "patch_size": 1}, "vae": SAME, "duration_embedder": {"max_val": 384}},
            10.0,
            108,
            256,
            44100,
            2,
        ),
        (LongCatAudio, {"transformer": {"latent_dim": 64}, "vae": LONGCAT}, 10.0, 117, 64, 24000, 1),
    ],
)
def test_shapes(
    tmp_path: Path,
    family: type[AudioFamily],
    configs: dict[str, dict[str, Any]],
    seconds: float,
    frames: int,
    numbers: int,
    rate: int,
    channels: int,
) -> None:
    geometry = family.geometry(source(tmp_path, configs))
    assert (geometry.frames(seconds), geometry.numbers) == (frames, numbers)
    assert (geometry.rate, geometry.channels) == (rate, channels)
    assert geometry.samples(seconds) == frames * geometry.hop
    geometry.check_window("modality.seconds", seconds)
    if geometry.window is not None:
        assert geometry.seconds == pytest.approx(seconds, abs=0.01)
        with pytest.raises(ConfigError, match=r"modality.seconds is 10.0, and this model makes"):
            geometry.check_window("modality.seconds", 10.0)
    geometry.check("seconds", 10.0)
    with pytest.raises(ConfigError, match="takes at most"):
        geometry.check("seconds", 400.0)


def test_what_sums_up_to_the_published_windows(tmp_path: Path) -> None:
    configs = {"transformer": OPEN, "vae": OOBLECK}
    geometry = StableAudio.geometry(source(tmp_path, configs))
    assert geometry.latents(1.0) == 65536
    assert geometry.samples(1.0) == 2097152


@pytest.mark.parametrize(
    ("family", "configs"),
    [
        (AudioLdm2, {"unet": {"in_channels": 8}, "vae": KL, "vocoder": HIFIGAN}),
        (StableAudio, {"transformer": OPEN, "vae": OOBLECK}),
        (TangoFlux, {"transformer": {"in_channels": 64}, "vae": OOBLECK}),
        (
            StableAudio3,
            {"transformer": {"io_channels": 256, "patch_size": 1}, "vae": SAME, "duration_embedder": {"max_val": 384}},
        ),
        (LongCatAudio, {"transformer": {"latent_dim": 64}, "vae": LONGCAT}),
        (AceStep, {"transformer": {"audio_acoustic_hidden_dim": 64}, "vae": OOBLECK}),
    ],
)
def test_a_field_that_a_configuration_lacks_is_told(
    tmp_path: Path, family: type[AudioFamily], configs: dict[str, dict[str, Any]]
) -> None:
    """Each of them, by file and name."""
    made = source(tmp_path, configs)
    assert family.geometry(made).rate
    for part, config in configs.items():
        path = tmp_path / part / "config.json"
        for field in config:
            path.write_text(json.dumps({name: value for name, value in config.items() if name != field}))
            with pytest.raises(ConfigError, match=rf"{part}/config\.json of .* has no field '{field}'"):
                family.geometry(made)
        path.write_text(json.dumps(config))
