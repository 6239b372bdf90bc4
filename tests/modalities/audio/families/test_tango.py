"""Tango 2's loss in float64; exports that plain diffusers samples; code in a folder that is never run."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import UserError
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.audio.families.tango import Tango
from modalign.modalities.audio.modality import Audio
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.sampling import pipeline_around
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.modalities.audio.families.test_mel_latents import PROMPTS, batch_of, comparison
from tests.modalities.audio.pipelines.test_mel import transcribed
from tests.modalities.image.families.test_families import changed
from tests.modalities.image.pictures import disturb

MakeAudio = Callable[..., Audio]
BETA_DPO = 2000


def transcribed_errors(modality: Audio, batch: PreferenceBatch, model: nn.Module) -> Tensor:
    """`(rows, 2)`: mean over channels, frames and bands of (v - (a n - s z))^2, one sound at a time."""
    pipeline = modality.family.pipeline
    abar = pipeline.scheduler.alphas_cumprod.double()
    keys = RowDraws.of(batch)
    time = (keys.positions(Timesteps(), 1000, 0) * 1000).long()
    noise, posterior = keys.noise((4, 16, 4), 0).double(), keys.noise((4, 16, 4), 0, "posterior").double()
    errors = []
    for n, candidate in enumerate(c for row, p in enumerate(PROMPTS) for c in comparison(p, row).candidates):
        tokens = pipeline.tokenizer(PROMPTS[n // 2], return_tensors="pt")
        samples, _ = modality.decode(candidate.response)
        mel = torch.from_numpy(transcribed(samples[0].double().numpy(), pipeline.front_end))
        with torch.no_grad():
            text = pipeline.text_encoder(tokens.input_ids).last_hidden_state
            moments = pipeline.vae.encode(mel[None, None]).latent_dist
            z = (moments.mean + moments.std * posterior[n]) * pipeline.vae.config.scaling_factor
        a, s = abar[time[n]].sqrt(), (1 - abar[time[n]]).sqrt()
        v = model(a * z + s * noise[n], time[n], encoder_hidden_states=text).sample
        errors.append(((v - (a * noise[n] - s * z)) ** 2).mean())
    return torch.stack(errors).reshape(-1, 2)


def test_tango_2s_loss(audio_folder: Callable[[str], Path]) -> None:
    """`-logsigmoid(-(beta_dpo / 2) * ((e_w - e_l) - (r_w - r_l)))` of v-prediction: dpo's beta is half of beta_dpo."""
    torch.manual_seed(4)
    folder = str(audio_folder("mel.tango"))
    modality = Audio(folder, cache="off", cache_dtype="float64", dtype="float64", encoder_dtype="float64")
    policy = modality.load()
    reference = copy.deepcopy(policy).requires_grad_(False)
    disturb(policy, 2e-3)
    batch = batch_of(modality, epoch=1)
    ours = modality.likelihood(policy, batch, Needs())
    errors = transcribed_errors(modality, batch, policy)
    with torch.no_grad():
        ref = transcribed_errors(modality, batch, reference)
        theirs = modality.likelihood(reference, batch, Needs())
    torch.testing.assert_close(-ours.logps, errors, rtol=1e-9, atol=1e-12)

    (e_w, e_l), (r_w, r_l) = errors.T, ref.T
    inside_term = -(BETA_DPO / 2) * ((e_w - e_l) - (r_w - r_l))
    expected, got = -F.logsigmoid(inside_term).mean(), Dpo(beta=BETA_DPO / 2)(ours, theirs, batch).loss(batch)
    assert inside_term.abs().min() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)
    parameters = list(policy.parameters())
    wanted, found = torch.autograd.grad(expected, parameters), torch.autograd.grad(got, parameters)
    assert max(gradient.abs().max().item() for gradient in wanted) > 1e-3
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


PLAIN = """
import sys
class NoModalign:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modalign":
            raise ImportError("modalign is not installed here")
sys.meta_path.insert(0, NoModalign())
import numpy, torch
from diffusers import DiffusionPipeline
for folder in sys.argv[1:]:
    for options in ({}, {"custom_pipeline": folder}):
        pipeline = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True, **options)
        source = torch.Generator().manual_seed(3)
        sound = pipeline("a red circle", audio_length_in_s=0.2, num_inference_steps=2, generator=source).audios
        numpy.save(f"{folder}/{len(options)}.npy", sound)
assert not any(name.split(".")[0] == "modalign" for name in sys.modules)
"""


@pytest.mark.slow
def test_plain_diffusers_samples_exports(audio: MakeAudio, tmp_path: Path) -> None:
    policies = {name: (modality := audio(name), modality.load()) for name in ("mel.tango", "mel.tango_bare")}
    for name, (modality, policy) in policies.items():
        disturb(policy, 0.2)
        modality.export(policy, tmp_path / name, "# The card\n")
        assert {"pipeline.py", "mel.py", "README.md", "unet"} <= {path.name for path in (tmp_path / name).iterdir()}
        index = json.loads((tmp_path / name / "model_index.json").read_text())
        assert index["_class_name"] == ["pipeline", "TangoPipeline"]

    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")}
    folders = [str(tmp_path / name) for name in policies]
    subprocess.run([sys.executable, "-c", PLAIN, *folders], check=True, cwd=tmp_path, env=environment)
    for name, (modality, policy) in policies.items():
        again = Audio(str(tmp_path / name), cache="off")
        pipeline = pipeline_around(again.family, again.load().eval())
        source = torch.Generator().manual_seed(3)
        expected = pipeline("a red circle", audio_length_in_s=0.2, num_inference_steps=2, generator=source).audios
        for kind in ("0.npy", "1.npy"):
            np.testing.assert_allclose(np.load(tmp_path / name / kind), expected, rtol=1e-4, atol=1e-5)
        (mine,), (theirs,) = (
            each.sample(trained, ["a red circle"], seed=7, steps=2)[0]
            for each, trained in ((modality, policy), (again, again.load()))
        )
        torch.testing.assert_close(mine.samples, theirs.samples)


@pytest.mark.parametrize("written", ["TangoPipeline", ["pipeline", "TangoPipeline"]])
def test_a_folders_own_code_is_not_run(audio_folder: Callable[[str], Path], written: Any, tmp_path: Path) -> None:
    folder = changed(audio_folder("mel.tango"), tmp_path / "model", "model_index.json", _class_name=written)
    (folder / "pipeline.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w').close()\nclass TangoPipeline: pass\n")
    modality = Audio(str(folder), cache="off")
    policy = modality.load()
    assert type(modality.family) is Tango
    (clip,) = modality.sample(policy, ["a cat"], steps=2)[0]
    assert clip.samples.std() > 0
    modality.export(policy, tmp_path / "out", "card")
    assert "randn_tensor" in (tmp_path / "out" / "pipeline.py").read_text()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "NobodysPipeline"])
def test_code_of_another_name_is_refused(audio_folder: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    folder = changed(audio_folder("mel.tango"), tmp_path / "model", "model_index.json", _class_name=["pipeline", name])
    (folder / "pipeline.py").write_text("raise RuntimeError\n")
    with pytest.raises(UserError, match=rf"is a {name}, which is no pipeline of diffusers .*\n.*own is not run"):
        Audio(str(folder), cache="off", family="tango").load()


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("unet/config.json", {"in_channels": 8}, "8 channels for 4"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class labels.*\n.*text-to-audio"),
        ("vae/config.json", {"latent_channels": 8}, "takes latents of 4 numbers, and this pipeline makes latents of 8"),
        ("vocoder/config.json", {"model_in_dim": 16}, "its vocoder is made for .*'mels': 16"),
        ("model_index.json", {"text_encoder": [None, None]}, "has no text_encoder"),
        ("model_index.json", {"mel": {"hops": 3}}, "settings of mel spectrograms that are not known: .*'hops'"),
        ("model_index.json", {"mel": {"rate": 8000, "hop": 64, "mels": 7}}, "its vocoder is made for"),
        ("model_index.json", {"vocoder": [None, None], "mel": {"mels": 7}}, "7 bands do not divide by the VAE's 2"),
    ],
)
def test_other_models_are_refused(
    audio_folder: Callable[[str], Path], tmp_path: Path, file: str, values: dict[str, Any], message: str
) -> None:
    folder = changed(audio_folder("mel.tango"), tmp_path / "model", file, **values)
    with pytest.raises(UserError, match=f"(?s){message}"):
        Audio(str(folder), cache="off").check_model()


def test_a_random_seeds_noise_is_each_clips_own(audio: MakeAudio) -> None:
    modality = audio("mel.tango")
    policy = modality.load()
    together = modality.sample(policy, list(PROMPTS), n=2, seed=5, steps=2, batch_size=4)
    alone = modality.sample(policy, [PROMPTS[1]], n=2, seed=5, steps=2, batch_size=1)
    for one, other in zip(together[1], alone[0], strict=True):
        torch.testing.assert_close(one.samples, other.samples, rtol=1e-3, atol=1e-4)
    assert (together[1][0].samples - together[1][1].samples).abs().max() > 1e-2


def test_the_pipeline_says_what_it_cannot_make(audio_folder: Callable[[str], Path]) -> None:
    from modalign.modalities.audio.pipelines.tango import TangoPipeline

    pipeline = TangoPipeline.from_pretrained(audio_folder("mel.tango"))
    with pytest.raises(ValueError, match="output_type is 'mp3'"):
        pipeline("a cat", output_type="mp3")
    with pytest.raises(ValueError, match=r"audio_length_in_s is 0\.0"):
        pipeline("a cat", audio_length_in_s=0.0)
    with pytest.raises(ValueError, match="1 prompts and 2 negative prompts"):
        pipeline("a cat", negative_prompt=["a", "b"])
    (sound,) = pipeline("a cat", num_inference_steps=1, return_dict=False)
    assert sound.shape == (1, 2048)
