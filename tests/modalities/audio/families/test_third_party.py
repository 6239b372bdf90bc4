"""A family of sounds of a stranger's package: AudioLDM, whose UNet is told one vector in place of tokens."""

import json
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.keys import generator
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.audio.modality import Audio
from modalign.modalities.lora import Lora
from modalign.plugins import manager
from tests.modalities.audio.families.test_caption_dropout import guided, rows_seen, text_in_training
from tests.modalities.audio.families.test_mel_latents import PROMPTS, plain
from tests.modalities.audio.training import train, write_pairs
from tests.tiny_audio.mel import WIDTH, autoencoder, clap_model, hifigan, roberta_tokenizer
from tests.tiny_pipelines import ddim

PACKAGE = Path(__file__).parents[4] / "tests" / "third_party"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `AudioLDMPipeline`, for 0.32 seconds."""
    from diffusers import AudioLDMPipeline, UNet2DConditionModel
    from transformers import ClapTextModelWithProjection

    torch.manual_seed(3)
    tokenizer = roberta_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=(8, 16),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH,
        class_embeddings_concat=True,
    )
    text_encoder = ClapTextModelWithProjection(clap_model(len(tokenizer)).config.text_config).eval()
    target = tmp_path_factory.mktemp("pipelines") / "audioldm"
    AudioLDMPipeline(
        autoencoder(4), text_encoder, tokenizer, unet, ddim("epsilon"), hifigan(16000, 8, [5, 4, 4, 2])
    ).save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    return plain(folder)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's plugin, as if pip had installed it."""
    monkeypatch.syspath_prepend(PACKAGE)
    import modalign_vowels.plugin  # type: ignore[import-not-found]

    found = manager.discover({"vowels": modalign_vowels.plugin})
    monkeypatch.setattr(manager, "registry", lambda: found)


def test_it_learns(folder: Path, tmp_path: Path) -> None:
    modality = Audio(str(folder), cache="off", lora=Lora(r=4), draw_cycle=1)
    train(modality, write_pairs(tmp_path, 2), Dpo(2000.0), learning_rate=0.3, max_steps=3, gradient_clip_val=1.0)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[0] == pytest.approx(log(2), abs=1e-6)
    assert losses[-1] < losses[0] - 0.01


def test_it_is_fed_as_by_its_pipeline(folder: Path, pipeline: Any) -> None:
    """With a caption, and without it where captions are dropped."""
    modality = Audio(str(folder), cache="off", cache_dtype="float32", caption_dropout=0.5)
    left_out, kept = guided(pipeline, PROMPTS[0], modality.seconds)
    text = text_in_training(modality, (True, False))["prompt_embeds"][:1]
    whole = modality.family.encode_prompts(PROMPTS[:1])["prompt_embeds"]
    for wanted, embeds in ((left_out, text), (kept, whole)):
        time, told = wanted.given["timestep"].reshape(1), {"prompt_embeds": embeds}
        predict = partial(modality.family.predict, pipeline.unet, wanted.noisy[None], time, told, None)
        (found,) = rows_seen(pipeline.unet, predict)
        torch.testing.assert_close(found.given["class_labels"], wanted.given["class_labels"])
        torch.testing.assert_close(found.answer, wanted.answer)
    assert (kept.answer - left_out.answer).abs().max() > 1e-3


def test_it_samples(folder: Path, pipeline: Any) -> None:
    modality = Audio(str(folder), cache="off")
    (clip,) = modality.sample(modality.load(), [PROMPTS[0]], seed=7, steps=2, guidance_scale=2.0, seconds=0.2)[0]
    expected = pipeline(
        PROMPTS[0],
        audio_length_in_s=0.2,
        num_inference_steps=2,
        guidance_scale=2.0,
        generator=generator(7, "sample", PROMPTS[0], 0),
    ).audios[0]
    assert clip.rate == 16000
    torch.testing.assert_close(clip.samples[0], torch.from_numpy(expected), rtol=1e-3, atol=1e-4)
    assert expected.std() > 1e-3
