"""TangoFlux's own layout, sampling and CRPO loss, transcribed from its code; exports without modalign."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderOobleck, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.modalities.audio.layouts import tangoflux as layout
from modalign.modalities.audio.modality import Audio
from modalign.modalities.audio.pipelines.tangoflux import flow_velocity
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.sampling import pipeline_around
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.modalities.audio.families.test_mel_latents import PROMPTS, batch_of
from tests.modalities.image.families.test_families import changed
from tests.modalities.image.pictures import disturb
from tests.tiny_audio.waveform import FRAMES, LATENT, RATE, WIDTH
from tests.tiny_pipelines import t5_text, t5_tokenizer

BETA_DPO = 2000
VAE = {
    "encoder_hidden_size": 2 * LATENT,
    "downsampling_ratios": [4, 4, 4],
    "channel_multiples": [1, 1, 2],
    "decoder_channels": 4,
    "decoder_input_channels": LATENT,
    "sampling_rate": RATE,
}


class Embedding(nn.Module):
    """`StableAudioPositionalEmbedding` of TangoFlux's model.py."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(dim // 2))

    def forward(self, times: Tensor) -> Tensor:
        freqs = times[..., None] * self.weights[None] * 2 * torch.pi
        return torch.cat((times[..., None], freqs.sin(), freqs.cos()), dim=-1)


class Duration(nn.Module):
    """`DurationEmbedder`."""

    def __init__(self, width: int, longest: float) -> None:
        super().__init__()
        self.time_positional_embedding = nn.Sequential(Embedding(8), nn.Linear(9, width))
        self.longest = longest

    def forward(self, seconds: Tensor) -> Tensor:
        return self.time_positional_embedding(seconds.clamp(0, self.longest) / self.longest).view(-1, 1, WIDTH)


class Published(nn.Module):
    """`TangoFlux`, as far as sampling and training one prompt need it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.tokenizer = t5_tokenizer()
        self.text_encoder = t5_text(self.tokenizer, WIDTH)
        self.fc = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.duration_emebdder = Duration(WIDTH, config["max_duration"])
        self.transformer = FluxTransformer2DModel(
            in_channels=config["in_channels"],
            num_layers=config["num_layers"],
            num_single_layers=config["num_single_layers"],
            attention_head_dim=128,
            num_attention_heads=config["num_attention_heads"],
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=False,
        )

    def states(self, prompt: str, length: int | None = None) -> tuple[Tensor, Tensor]:
        padding = {} if length is None else {"padding": "max_length", "max_length": length}
        batch = self.tokenizer([prompt], return_tensors="pt", **padding)
        return self.text_encoder(**batch)[0], batch.attention_mask == 1

    def velocity(self, latents: Tensor, level: Tensor, states: Tensor, mask: Tensor, seconds: Tensor) -> Tensor:
        told = self.duration_emebdder(seconds)
        masked = torch.where(mask.unsqueeze(-1).expand_as(states), states, torch.tensor(float("nan")))
        pooled = self.fc(torch.nanmean(masked, dim=1))
        states = torch.cat([states, told], dim=1)
        return self.transformer(
            hidden_states=latents,
            timestep=level,
            guidance=None,
            pooled_projections=pooled,
            encoder_hidden_states=states,
            txt_ids=torch.zeros(states.shape[1], 3),
            img_ids=torch.arange(latents.shape[1])[:, None].repeat(1, 3),
            return_dict=False,
        )[0]

    @torch.no_grad()
    def inference_flow(self, prompt: str, noise: Tensor, steps: int, scale: float, duration: float) -> Tensor:
        seconds = torch.tensor([duration])
        states, mask = self.states(prompt)
        empty, empty_mask = self.states("", states.shape[1])
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))
        latents = noise
        for t in scheduler.timesteps:
            level = torch.tensor([t / 1000])
            text = self.velocity(latents, level, states, mask, seconds)
            uncond = self.velocity(latents, level, empty, empty_mask, seconds)
            latents = scheduler.step(uncond + scale * (text - uncond), t, latents).prev_sample
        return latents


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Published, Any]:
    """A folder in TangoFlux's own layout, and the modules whose weights it holds."""
    folder = tmp_path_factory.mktemp("published")
    config = {"num_layers": 1, "num_single_layers": 1, "in_channels": LATENT, "attention_head_dim": 128}
    config |= {"joint_attention_dim": WIDTH, "num_attention_heads": 1, "audio_seq_len": FRAMES, "max_duration": 4}
    model = Published(config).eval()
    (folder / "config.json").write_text(json.dumps({**config, "text_encoder_name": "t5"}))
    model.text_encoder.save_pretrained(folder / "t5")
    model.tokenizer.save_pretrained(folder / "t5")
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    weights.pop("text_encoder.encoder.embed_tokens.weight", None)  # tied, and left out of the published file
    save_file(weights, folder / "tangoflux.safetensors")
    vae = AutoencoderOobleck(**VAE).eval()
    save_file(vae.state_dict(), folder / "vae.safetensors")
    return folder, model, vae


@pytest.fixture
def converted(published: tuple[Path, Published, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audio:
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(layout, "VAE", VAE)
    return Audio(str(published[0]), cache="off")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_published_model_samples_as_its_own_code(
    published: tuple[Path, Published, Any], converted: Audio, prompt: str
) -> None:
    _, model, vae = published
    (clip,) = converted.sample(converted.load(), [prompt], seed=3, steps=4, guidance_scale=4.5, seconds=0.1)[0]
    noise = torch.randn(1, FRAMES, LATENT, generator=generator(3, "sample", prompt, 0))
    latents = model.inference_flow(prompt, noise, 4, 4.5, 0.1)
    with torch.no_grad():
        expected = vae.decode(latents.transpose(2, 1)).sample[0, :, : int(0.1 * RATE)]
    assert clip.samples.shape == expected.shape == (2, 800)
    torch.testing.assert_close(clip.samples, expected, rtol=1e-3, atol=1e-4)


def test_a_published_model_lacks_a_file(published: tuple[Path, Published, Any], tmp_path: Path) -> None:
    (tmp_path / "tangoflux.safetensors").write_bytes((published[0] / "tangoflux.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"tangoflux's own layout, and lacks config.json, vae.safetensors"):
        Audio(str(tmp_path), cache="off").load()


def crpo_loss(modality: Audio, batch: PreferenceBatch, model: nn.Module, reference: nn.Module) -> Tensor:
    """`TangoFlux.forward(sft=False)`, in float64, from the batch's own draws."""
    pipeline, keys = modality.family.pipeline, RowDraws.of(batch)
    levels = (keys.positions(Timesteps("logit_normal"), 1000, 0) * 1000).floor().add(1) / 1000
    noise = keys.noise((FRAMES, LATENT), 0).double()
    posterior = keys.noise((FRAMES, LATENT), 0, "posterior").double()

    def errors(network: nn.Module) -> Tensor:
        found = []
        for n, medium in enumerate(batch.inputs["media"].double()):
            tokens = pipeline.tokenizer([PROMPTS[n // 2]], return_tensors="pt")
            with torch.no_grad():
                distribution = pipeline.vae.encode(medium[None]).latent_dist
                latents = (distribution.mean + distribution.std * posterior[n].T).transpose(1, 2)
                states = pipeline.text_encoder(**tokens)[0]
                told = pipeline.conditioner(batch.inputs["numbers"][n, 1:])
            noisy = (1.0 - levels[n]) * latents + levels[n] * noise[n]
            pred = network(
                hidden_states=noisy,
                timestep=levels[n : n + 1],
                guidance=None,
                pooled_projections=pipeline.conditioner.fc(states.mean(1)),
                encoder_hidden_states=torch.cat([states, told], dim=1),
                txt_ids=torch.zeros(states.shape[1] + 1, 3),
                img_ids=torch.arange(FRAMES)[:, None].repeat(1, 3),
                return_dict=False,
            )[0]
            found.append(F.mse_loss(pred, noise[n] - latents))
        return torch.stack(found).reshape(-1, 2)

    model_losses_w, model_losses_l = errors(model).T
    with torch.no_grad():
        ref_losses_w, ref_losses_l = errors(reference).T
    inside_term = -0.5 * BETA_DPO * ((model_losses_w - model_losses_l) - (ref_losses_w - ref_losses_l))
    assert inside_term.abs().min() > 1e-3
    return -F.logsigmoid(inside_term).mean() + model_losses_w.mean()


def test_crpo(audio_folder: Callable[[str], Path]) -> None:
    """A sum of `dpo`, whose beta is half of TangoFlux's, and `sft`: value and gradients."""
    precise = {"cache": "off", "cache_dtype": "float64", "dtype": "float64", "encoder_dtype": "float64"}
    modality = Audio(str(audio_folder("waveform.tangoflux")), **precise)  # type: ignore[arg-type]
    policy = modality.load()
    reference = copy.deepcopy(policy).requires_grad_(False)
    disturb(policy, 2e-3)
    batch = batch_of(modality, epoch=1)
    ours = modality.likelihood(policy, batch, Needs())
    with torch.no_grad():
        theirs = modality.likelihood(reference, batch, Needs())
    got = WeightedSum({"dpo": Dpo(beta=BETA_DPO / 2), "sft": Sft()})(ours, theirs, batch).loss(batch)
    expected = crpo_loss(modality, batch, policy, reference)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)
    parameters = list(policy.parameters())
    wanted = torch.autograd.grad(expected, parameters, allow_unused=True)
    found = torch.autograd.grad(got, parameters, allow_unused=True)
    largest = max(gradient.abs().max().item() for gradient in wanted if gradient is not None)
    assert largest > 1e-2
    zero = torch.zeros((), dtype=torch.float64)  # the last block's text path leads nowhere
    for pair in zip(found, wanted, strict=True):
        one, other = (zero if gradient is None else gradient for gradient in pair)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6 * largest)


def test_places_are_told_apart_in_bfloat16() -> None:
    """It holds no odd number above 256, and a published window has 645 places."""
    given: dict[str, Any] = {}

    def transformer(**options: Any) -> tuple[Tensor]:
        given.update(options)
        return (options["hidden_states"],)

    noisy, states = torch.zeros(1, 645, LATENT, dtype=torch.bfloat16), torch.zeros(1, 2, WIDTH)
    text = {"prompt_embeds": states, "prompt_mask": torch.ones(1, 2, dtype=torch.bool), "pooled_prompt_embeds": states}
    flow_velocity(transformer, noisy, torch.ones(1), text, states[:, :1])
    assert given["img_ids"][:, 0].tolist() == list(range(645))
    assert not given["img_ids"].is_floating_point()  # else sampling would round them to the weights' dtype


PLAIN = """
import sys
class NoModalign:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modalign":
            raise ImportError("modalign is not installed here")
sys.meta_path.insert(0, NoModalign())
import numpy, torch
from diffusers import DiffusionPipeline
folder = sys.argv[1]
pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
source = torch.Generator().manual_seed(3)
sound = pipeline("a red circle", duration=0.1, num_inference_steps=2, generator=source, output_type="np").audios
numpy.save(f"{folder}/sound.npy", sound)
"""


def test_plain_diffusers_samples_an_export(audio: Callable[..., Audio], tmp_path: Path) -> None:
    """The pipeline's file, the mel front end that it imports, and the class of a part."""
    modality, out = audio("waveform.tangoflux_mel"), tmp_path / "out"
    policy = modality.load()
    disturb(policy, 0.2)
    modality.export(policy, out, "# The card\n")
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")}
    subprocess.run([sys.executable, "-c", PLAIN, str(out)], check=True, cwd=tmp_path, env=environment)
    again = Audio(str(out), cache="off")
    pipeline = pipeline_around(again.family, again.load().eval())
    source = torch.Generator().manual_seed(3)
    expected = pipeline("a red circle", duration=0.1, num_inference_steps=2, generator=source, output_type="np").audios
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.load(out / "sound.npy") / scale, expected / scale, rtol=1e-3, atol=1e-4)


def test_a_parts_own_code_is_not_run(audio: Callable[..., Audio], tmp_path: Path) -> None:
    modality, out = audio("waveform.tangoflux"), tmp_path / "out"
    modality.export(modality.load(), out, "card")
    (out / "conditioner" / "tangoflux_conditioner.py").write_text("raise RuntimeError('run')\n")
    again = Audio(str(out), cache="off")
    assert type(again.family.pipeline.conditioner).__module__.startswith("modalign.")


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("transformer/config.json", {"guidance_embeds": True}, "is told a guidance scale"),
        (
            "model_index.json",
            {"mel": {"hops": 3}},
            "spectrograms that are not known: .*'hops'.*\n.*a TangoFluxPipeline as",
        ),
        ("model_index.json", {"mel": None}, "takes latents of 8 numbers, and this pipeline makes latents of 64"),
        ("model_index.json", {"text_encoder": [None, None]}, "has no text_encoder"),
    ],
)
def test_other_models_are_refused(
    audio_folder: Callable[[str], Path], tmp_path: Path, file: str, values: dict[str, Any], message: str
) -> None:
    folder = changed(audio_folder("waveform.tangoflux_mel"), tmp_path / "model", file, **values)
    with pytest.raises(UserError, match=message):
        Audio(str(folder), cache="off").check_model()


def test_a_part_that_is_not_named_is_missing(audio_folder: Callable[[str], Path], tmp_path: Path) -> None:
    saved = audio_folder("waveform.tangoflux_mel")
    index = json.loads((saved / "model_index.json").read_text())
    del index["vae"]
    folder = changed(saved, tmp_path / "model", "model_index.json")
    (folder / "model_index.json").write_text(json.dumps(index))
    assert Audio(str(folder), cache="off").geometry == Audio(str(saved), cache="off").geometry
