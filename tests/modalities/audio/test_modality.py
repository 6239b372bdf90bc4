"""The audio modality: options, what it encodes and how it is keyed, sampling, files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture
from torch import Tensor

from modalign.core.batch import EVALUATION, Candidate, Comparison
from modalign.core.errors import ConfigError, UserError
from modalign.core.keys import generator
from modalign.core.media import Media
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.modality import Audio
from modalign.modalities.audio.reading.reader import read_clip
from modalign.modalities.diffusion.preparation import size_text
from modalign.modalities.diffusion.shards import record_bytes
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.sounds import media, noise, tone

MakeAudio = Callable[..., Audio]
RATE = 8000
PROMPTS = ["a low tone", "noise then beeps", "a dog"]


def pair(chosen: Any, rejected: Any, prompt: str = "a low tone") -> Comparison:
    return Comparison(prompt, (Candidate(chosen, "chosen"), Candidate(rejected, "rejected")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": "centre"}, "crop is 'centre'.*'center'"),
        ({"crop": "random", "cache": "disk"}, "Set modality.cache: off"),
        ({"short": "repeat"}, "short is 'repeat'"),
        ({"peak": 0.5, "loudness": -23.0}, "Both loudness and peak"),
        ({"peak": 0.0}, "peak is 0"),
        ({"loudness": 3.0}, "loudness is 3"),
        ({"seconds": 0.0}, "seconds is 0"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"caption_dropout": 1.0}, "caption_dropout is 1"),
        ({"draws": 0}, "draws is 0"),
        ({"cache_folder": "there", "cache": "off"}, "cache_folder is given"),
        ({"family": "tangofluks"}, "tangoflux"),
    ],
)
def test_bad_options_are_refused_before_anything_is_loaded(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        Audio("nowhere", **{"cache": "off", **options})


def test_what_does_not_fit_the_model_is_refused(audio: MakeAudio) -> None:
    with pytest.raises(ConfigError, match="seconds is 5"):
        audio(seconds=5.0).check_model()
    with pytest.raises(ConfigError, match="guidance is 3"):
        audio(guidance=3.0).check_model()


def test_an_images_pipeline_makes_no_sounds(pipeline_folder: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match="StableDiffusion, which makes no sounds"):
        Audio(str(pipeline_folder("stable_diffusion")), cache="off").check_model()


def test_a_start_tells_how_beta_acts_at_this_length(audio: MakeAudio) -> None:
    (note,) = audio().start_notes(Dpo(1000.0))
    assert "at 0.128 seconds (128 latent numbers)" in note


def test_one_place_for_all_sounds_of_a_row_and_another_for_each_row_and_epoch(audio: MakeAudio) -> None:
    modality = audio(crop="random", seconds=None)
    ramp = Clip((torch.arange(8000) / 8000)[None], RATE)
    example = modality.encode(pair(ramp, Clip(-ramp.samples, RATE)))

    def starts(rows: list[int], epoch: int) -> list[float]:
        media = modality.collate([example] * len(rows), rows, epoch).inputs["media"]
        assert torch.equal(media[0::2], -media[1::2]), "the members of a row are cut alike"
        return [float(first) for first in media[0::2, 0, 0]]

    first = starts([0, 1, 2, 3], 0)
    assert len(set(first)) == 4
    assert starts([3, 1], 0) == [first[3], first[1]]
    assert starts([0, 1, 2, 3], 1) != first
    (middle,) = starts([0], EVALUATION)
    assert middle == pytest.approx((8000 - 1024) / 2 / 8000, abs=1e-3)


def test_a_random_crop_equals_the_same_part_given_as_a_file(audio: MakeAudio) -> None:
    """The likelihood knows nothing of where a part came from."""
    modality, fixed = audio(crop="random"), audio()
    long = noise(1.0, RATE, channels=2)
    batch = modality.collate([modality.encode(pair(long, long))], [5], 2)
    part = Clip(batch.inputs["media"][0], RATE)
    again = fixed.collate([fixed.encode(pair(part, part))], [5], 2)
    assert torch.equal(batch.inputs["media"], again.inputs["media"])
    assert torch.equal(batch.inputs["numbers"], again.inputs["numbers"])


def test_captions_are_dropped_for_both_or_for_neither(audio: MakeAudio) -> None:
    modality = audio(caption_dropout=0.5)
    examples = [modality.encode(pair(tone(300, 0.1, RATE), noise(0.1, RATE), prompt)) for prompt in PROMPTS * 8]
    inputs = modality.collate(examples, range(24), 0).inputs
    prompts = [inputs["prompts"][number] for number in inputs["prompt_index"].tolist()]
    assert prompts[0::2] == prompts[1::2]
    dropped = [prompt == "" for prompt in prompts[0::2]]
    assert 4 < sum(dropped) < 20
    assert all(
        left or prompt == PROMPTS[k % 3] for k, (left, prompt) in enumerate(zip(dropped, prompts[0::2], strict=True))
    )


OTHERS: list[dict[str, Any]] = [
    {"crop": "center"},
    {"short": "loop"},
    {"peak": 0.5},
    {"loudness": -20.0},
    {"cache_dtype": "float32"},
    {"encoder_dtype": "float64"},
]


def test_cached_latents_are_keyed_by_everything_that_changes_them(audio_folder: Any, tmp_path: Path) -> None:
    folders = []
    for options in [{}, *OTHERS, {}]:
        modality = Audio(str(audio_folder("waveform.tangoflux")), cache_folder=str(tmp_path), **options)
        assert modality.cache is not None
        assert modality.cache.latents is not None
        folders.append(modality.cache.latents.folder)
    assert folders[0] == folders[-1]
    assert len(set(folders)) == len(OTHERS) + 1


def test_latents_of_another_window_are_kept_apart(audio_folder: Any, tmp_path: Path) -> None:
    folders = []
    for seconds in (None, 0.512):
        modality = Audio(str(audio_folder("mel.tango")), seconds=seconds, cache_folder=str(tmp_path))
        assert modality.cache is not None
        assert modality.cache.latents is not None
        folders.append(modality.cache.latents.folder)
    assert folders[0] != folders[1]


def test_reference_likelihoods_are_keyed_by_everything_that_changes_them(audio_folder: Any) -> None:
    changes: list[dict[str, Any]] = [
        *OTHERS,
        {"seconds": 0.512},
        {"crop": "random"},
        {"caption_dropout": 0.1},
        {"sample_posterior": False},
        {"draws": 2},
        {"timesteps": Timesteps("fixed", values=[500])},
    ]
    found = [
        Audio(str(audio_folder("mel.tango")), cache="off", **options).fingerprint() for options in [{}, *changes, {}]
    ]
    assert found[0] == found[-1]
    assert len(set(found)) == len(changes) + 1


def test_the_cost_of_prompts_is_told_by_the_longest(
    audio_folder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tango's encodings have as many tokens as the prompt; the empty one, of dropped captions, has one."""
    modality = Audio(str(audio_folder("mel.tango")), cache_folder=str(tmp_path))
    sound = media(tone(300, 0.1, RATE))
    modality.prepare([pair(sound, sound, prompt) for prompt in PROMPTS], torch.device("cpu"))
    assert modality.cache is not None
    kept = [record_bytes(modality.cache.prompt(prompt)) for prompt in ("", *PROMPTS)]
    assert kept[0] < kept[1] < kept[2]
    told = f"4 prompts to encode, at most {size_text(kept[2])} each, {size_text(4 * kept[2])} in all"
    assert told in capsys.readouterr().out


def test_the_key_of_a_sound_is_its_content(audio: MakeAudio, tmp_path: Path) -> None:
    modality = audio()
    one, two = media(tone(300, 0.1, RATE)), media(tone(301, 0.1, RATE))
    (tmp_path / "copy.wav").write_bytes(one.read())
    assert modality.medium_key(one) == modality.medium_key(Media(str(tmp_path / "copy.wav")))
    assert modality.medium_key(one) != modality.medium_key(two)
    assert len(bytes.fromhex(modality.medium_key(one))) == 16


def close(one: Clip, other: Clip) -> None:
    assert one.rate == other.rate
    torch.testing.assert_close(one.samples, other.samples, rtol=0, atol=2e-6)


def test_samples_do_not_depend_on_the_batch(audio: MakeAudio) -> None:
    modality = audio()
    policy = modality.load()
    together = modality.sample(policy, PROMPTS, n=2, seed=3, steps=2)
    assert [len(clips) for clips in together] == [2, 2, 2]
    alone = modality.sample(policy, [PROMPTS[1]], n=2, seed=3, steps=2, batch_size=1)
    for one, other in zip(together[1], alone[0], strict=True):
        close(one, other)
    flat = [clip.samples for clips in together for clip in clips]
    assert all(not torch.allclose(a, b, atol=1e-4) for k, a in enumerate(flat) for b in flat[k + 1 :])
    other_seed = modality.sample(policy, [PROMPTS[1]], seed=4, steps=2)
    assert not torch.allclose(other_seed[0][0].samples, alone[0][0].samples, atol=1e-4)
    assert policy.training
    assert all(parameter.requires_grad for parameter in policy.parameters())


def test_samples_are_the_pipelines_own(audio: MakeAudio) -> None:
    """The pipeline's own call on the prompt, with the generator that its seed, prompt and draw name."""
    modality = audio()
    policy = modality.load()
    ((clip,),) = modality.sample(policy, ["noise"], seed=3, steps=2, guidance_scale=2.0, negative_prompt="a dog")
    pipeline = modality.family.pipeline
    pipeline.transformer = policy.eval()
    pipeline.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": 2, "guidance_scale": 2.0, "negative_prompt": "a dog", "duration": modality.seconds}
    with torch.no_grad():
        expected = pipeline("noise", generator=[generator(3, "sample", "noise", 0)], **call).audios[0]
    close(clip, Clip(expected, RATE))


def test_a_shorter_sample(audio: MakeAudio) -> None:
    modality = audio()
    ((clip,),) = modality.sample(modality.load(), ["noise"], seconds=0.05, steps=1)
    assert clip.samples.shape == (2, 400)
    assert clip.seconds == 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 3}, "no option 'step'.*[Ss]teps"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": True}, "steps is True"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": "long"}, "seconds is 'long'"),
        ({"guidance_scale": -1}, "guidance_scale is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"negative_prompt": None}, "negative_prompt is None"),
    ],
)
def test_bad_options_of_sampling_are_refused_before_loading(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        Audio("nowhere", cache="off").check_sampling(options)


def test_sampling_that_the_model_cannot_do(audio: MakeAudio) -> None:
    modality = audio()
    policy = modality.load()
    with pytest.raises(UserError, match="Sampling: seconds is 9"):
        modality.sample(policy, ["noise"], seconds=9)
    with pytest.raises(UserError, match="without guidance"):
        modality.sample(policy, ["noise"], guidance_scale=1, negative_prompt="a dog")
    with pytest.raises(UserError, match="a prompt is 3, no text"):
        modality.sample(policy, [3])
    with pytest.raises(UserError, match="n is 0"):
        modality.sample(policy, ["noise"], n=0)


def test_a_diverged_policy_is_told_and_makes_silence(audio: MakeAudio) -> None:
    modality = audio()
    policy = modality.load()
    with torch.no_grad():
        next(policy.parameters()).fill_(torch.nan)
    with pytest.warns(UserWarning, match="the policy has diverged"):
        ((clip,),) = modality.sample(policy, ["noise"], steps=1)
    assert clip.samples.abs().max() == 0


@pytest.mark.parametrize(("level", "subtype"), [(0.9, "PCM_16"), (1.7, "FLOAT")])
def test_files_hold_what_was_made(audio: MakeAudio, tmp_path: Path, level: float, subtype: str) -> None:
    import soundfile

    clip = noise(0.1, RATE, channels=2)
    clip = Clip(level * clip.samples / clip.samples.abs().max(), RATE)
    path = audio().save(clip, tmp_path / "deep" / "000.5")
    assert path == tmp_path / "deep" / "000.5.wav"
    assert soundfile.info(path).subtype == subtype
    again = read_clip(Media(str(path)))
    assert again.rate == RATE
    torch.testing.assert_close(again.samples, clip.samples, rtol=0, atol=1 / 32000)


def brightness(picture: Picture.Image) -> Tensor:
    """`(W,)`: how much light each column of a picture has."""
    import numpy as np

    return torch.from_numpy(np.asarray(picture.convert("L")).astype(np.float32)).mean(0)


def test_a_sheet_shows_when_there_is_sound(audio: MakeAudio, tmp_path: Path) -> None:
    modality = audio()
    late = Clip(torch.cat([torch.zeros(1, 4000), tone(300, 0.5, RATE).samples], 1), RATE)
    early = Media(str(modality.save(tone(300, 0.5, RATE), tmp_path / "early")))
    sheet = modality.contact_sheet(["a tone", "again"], {"base": [late, late], "aligned": [early, late]})
    assert sheet.size == (8 + 2 * 328, 18 + 16 + 2 * (128 + 16 + 18))
    top = 18 + 16
    base, aligned = (brightness(sheet.crop((left, top, left + 320, top + 128))) for left in (8, 336))
    assert base[:150].max() < base[170:].min()
    assert aligned[:150].max() < 200 < aligned[170:].min(), "after its end there is nothing, which is grey"
    with pytest.raises(UserError, match=r"'base.*' has 1 responses for 2 prompts"):
        modality.contact_sheet(["one", "two"], {"base": [late]})


def test_previews_and_sounds(audio: MakeAudio) -> None:
    modality, clip = audio(), tone(300, 0.5, RATE)
    assert modality.preview("a low tone", clip) == "a low tone (0.50 seconds, 8000 Hz, mono)"
    samples, rate = modality.sound(media(clip))
    assert rate == RATE
    assert torch.equal(samples, clip.samples)
