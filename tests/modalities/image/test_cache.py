"""Latents and prompt encodings from disk are those computed live, bit for bit, and never those of other encoders."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import load_file, save_file

from modalign.core.batch import MISMATCHED, Candidate, Comparison, PreferenceBatch
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.media import Media
from modalign.core.objectives.base import Needs
from modalign.modalities.diffusion import encoded_modality, frozen_cache, preparation
from modalign.modalities.diffusion.collation import latents_of, text_of
from modalign.modalities.diffusion.frozen_outputs import CacheOptions, medium_record, prompt_record
from modalign.modalities.diffusion.survey import Survey
from modalign.modalities.image import modality as image_modality
from modalign.modalities.image.modality import Image

CPU = torch.device("cpu")
Pipelines = Callable[[str], Path]


def comparisons(folder: Path, rows: int = 3) -> list[Comparison]:
    draw = np.random.default_rng(0)
    made = []
    for row in range(rows):
        media = []
        for column in range(2):
            path = folder / f"{row}-{column}.png"
            Picture.fromarray(draw.integers(0, 256, (17 + row, 20 + column, 3), dtype=np.uint8)).save(path)
            media.append(Media(str(path)))
        pair = Candidate(media[0], "chosen"), Candidate(media[1], "rejected")
        made.append(Comparison(("a red star", "a dog")[row % 2], pair, source="pairs.jsonl", row=row))
    return made


def batch(modality: Image, rows: list[Comparison], epoch: int = 0) -> PreferenceBatch:
    return modality.collate([modality.encode(each) for each in rows], range(len(rows)), epoch)


def cached(model: Path, folder: Path, **options: Any) -> Image:
    return Image(str(model), cache_folder=str(folder / "cache"), **options)


def inputs_of(modality: Image, made: PreferenceBatch) -> dict[str, Any]:
    inputs = modality.encode_batch(made).inputs
    mean, std = latents_of(inputs)
    return {"mean": mean, "std": std, "numbers": inputs["numbers"], **text_of(inputs, modality.family.unconditional)}


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux"])
def test_cached_equals_live(tmp_path: Path, pipeline_folder: Pipelines, name: str, dtype: Any) -> None:
    model, rows = pipeline_folder(name), comparisons(tmp_path)
    options: dict[str, Any] = {"flip": True, "caption_dropout": 0.4, "cache_dtype": dtype, "resolution": 16}
    kept, live = cached(model, tmp_path, **options), Image(str(model), cache="off", **options)
    kept.prepare(rows, CPU)
    flips = set()
    for epoch in range(3):
        from_disk, now = batch(kept, rows, epoch), batch(live, rows, epoch)
        assert "media" not in from_disk.inputs
        assert "prompts" not in from_disk.inputs
        assert from_disk.inputs["latents"].dtype == getattr(torch, dtype)
        same(from_disk.inputs, live.encode_batch(now).inputs)
        same(inputs_of(kept, from_disk), inputs_of(live, now))
        flips |= {cell.flipped for each in rows for cell in _drawn(kept, each, epoch)}
    assert flips == {True, False}


def _drawn(modality: Image, row: Comparison, epoch: int) -> list[Any]:
    choices = modality.choices(epoch, row.row)
    return [modality.show(cell, choices) for cell in modality.encode(row).cells]


def test_live_values_do_not_depend_on_the_batch(tmp_path: Path, pipeline_folder: Pipelines) -> None:
    rows = comparisons(tmp_path)
    live = Image(str(pipeline_folder("stable_diffusion")), cache="off", cache_dtype="float32")
    together = inputs_of(live, batch(live, rows))
    for row in range(3):
        alone = live.collate([live.encode(rows[row])], [row])
        same(inputs_of(live, alone), {name: values[2 * row : 2 * row + 2] for name, values in together.items()})


def test_what_is_kept_is_what_the_encoders_make(tmp_path: Path, pipeline_folder: Pipelines) -> None:
    """Against diffusers and transformers alone; a mirrored picture is encoded, not its latents mirrored."""
    rows, model = comparisons(tmp_path, 1), pipeline_folder("stable_diffusion")
    kept = cached(model, tmp_path, flip=True, cache_dtype="float32", resolution=16)
    kept.prepare(rows, CPU)
    assert kept.cache is not None
    response = rows[0].candidates[0].response
    pipeline, key = kept.family.pipeline, kept.medium_key(response)
    picture = Picture.open(response.path).resize((19, 16), Picture.Resampling.LANCZOS)
    for mirrored, left in ((False, 1), (True, 2)):
        square = picture.crop((1, 0, 17, 16))
        square = square.transpose(Picture.Transpose.FLIP_LEFT_RIGHT) if mirrored else square
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            expected = pipeline.vae.encode(pixels).latent_dist
        record = kept.cache.medium(key, mirrored)
        scale = pipeline.vae.config.scaling_factor
        torch.testing.assert_close(record["mean"], expected.mean[0] * scale)
        torch.testing.assert_close(record["std"], expected.std[0] * scale)
        assert record["numbers"].tolist() == [17, 20, 0, left, 16, 16]
    tokens = pipeline.tokenizer("a red star", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(
            kept.cache.prompt("a red star")["prompt_embeds"], pipeline.text_encoder(tokens).last_hidden_state[0]
        )


def test_its_cost_is_told_first_and_only_once_paid(
    tmp_path: Path, pipeline_folder: Pipelines, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, model = comparisons(tmp_path), pipeline_folder("stable_diffusion")
    modality = cached(model, tmp_path)
    assert modality.prepare(rows, CPU, only_tell=True)
    told = capsys.readouterr().out
    each = 2 * 4 * 8 * 8 * 2 + 6 * 4
    assert (
        f"cache: 6 images to encode, {each / 1000:.1f} KB each, {6 * each / 1000:.1f} KB in all, in {tmp_path}" in told
    )
    assert f"cache: 3 prompts to encode, at most {16 * 16 * 2} bytes each" in told
    assert not list(tmp_path.glob("cache/*/*.safetensors"))
    modality.prepare(rows, CPU)
    assert capsys.readouterr().out == told
    assert modality.cache is not None
    assert modality.cache.latents is not None
    on_disk = sum(path.stat().st_size for path in modality.cache.latents.folder.glob("*.safetensors"))
    assert 6 * each <= on_disk <= 6 * (each + 16) + 1000
    before = set(tmp_path.rglob("*"))
    cached(model, tmp_path).prepare(rows, CPU)
    assert "cache: all 6 images are encoded" in capsys.readouterr().out
    assert set(tmp_path.rglob("*")) == before


def test_equal_pictures_and_prompts_are_encoded_once(
    tmp_path: Path, pipeline_folder: Pipelines, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = comparisons(tmp_path)
    elsewhere = tmp_path / "copy.png"
    shutil.copy(rows[0].candidates[0].response.path, elsewhere)
    other = Candidate(Media("", rows[1].candidates[1].response.read()), MISMATCHED)
    more = Comparison("a dog", (Candidate(Media(str(elsewhere)), "chosen"), other), source="more", row=0)
    modality = cached(pipeline_folder("stable_diffusion"), tmp_path)
    modality.prepare([*rows, more], CPU)
    assert "cache: 6 images" in capsys.readouterr().out
    assert "media" not in batch(modality, [more]).inputs


def test_the_scan_of_cached_data_decodes_and_loads_nothing(
    tmp_path: Path,
    pipeline_folder: Pipelines,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, model = comparisons(tmp_path), pipeline_folder("stable_diffusion")
    cached(model, tmp_path).prepare(rows, CPU)

    def refuse(*given: Any) -> Any:
        raise AssertionError("not needed")

    monkeypatch.setattr(image_modality, "decode_image", refuse)
    monkeypatch.setattr(encoded_modality, "load_family", refuse)
    later = cached(model, tmp_path)
    examples = [later.encode(each) for each in rows]
    capsys.readouterr()
    later.prepare(rows, CPU)
    assert "cache: everything is there" in capsys.readouterr().out
    assert pickle.loads(pickle.dumps(later)).collate(examples, range(3)).inputs["latents"].shape == (6, 4, 8, 8)


def changed_weights(model: Path, part: str, file: str) -> None:
    weights = load_file(model / part / file)
    name = sorted(weights)[0]
    weights[name] = weights[name] + 0.1
    save_file(weights, model / part / file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("part", "file", "which"),
    [("vae", "diffusion_pytorch_model.safetensors", "latents"), ("text_encoder", "model.safetensors", "text")],
)
def test_other_weights_have_another_cache(
    tmp_path: Path, pipeline_folder: Pipelines, part: str, file: str, which: str
) -> None:
    model = Path(shutil.copytree(pipeline_folder("stable_diffusion"), tmp_path / "model"))
    rows = comparisons(tmp_path)
    cached(model, tmp_path).prepare(rows, CPU)
    assert "media" not in batch(cached(model, tmp_path), rows).inputs
    changed_weights(model, part, file)
    after = batch(cached(model, tmp_path), rows).inputs
    assert ("media" in after) == (which == "latents")
    assert ("prompts" in after) == (which == "text")


def test_a_copy_of_the_model_shares_the_cache_and_other_settings_do_not(
    tmp_path: Path, pipeline_folder: Pipelines
) -> None:
    original, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path)
    cached(original, tmp_path, resolution=16).prepare(rows, CPU)
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    assert "latents" in batch(cached(copy, tmp_path, resolution=16), rows).inputs
    for other in ({"resolution": 32}, {"cache_dtype": "float32"}, {"encoder_dtype": "bfloat16"}):
        assert "media" in batch(cached(original, tmp_path, **{"resolution": 16, **other}), rows).inputs


def test_prompts_encoded_under_another_setting_of_the_pipeline_are_not_taken(
    tmp_path: Path, pipeline_folder: Pipelines
) -> None:
    """SDXL's unconditional prompt is all zeros, or what its encoders make of "", as model_index.json says."""
    model = Path(shutil.copytree(pipeline_folder("stable_diffusion_xl"), tmp_path / "model"))
    rows = comparisons(tmp_path)
    empty = {}
    for zeros in (True, False):
        index = json.loads((model / "model_index.json").read_text())
        (model / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": zeros}))
        modality = cached(model, tmp_path)
        modality.prepare(rows, CPU)
        assert modality.cache is not None
        empty[zeros] = modality.cache.prompt("")["prompt_embeds"]
    assert not empty[True].any()
    assert empty[False].any()


@pytest.mark.parametrize("library", ["diffusers", "transformers"])
def test_another_minor_version_of_the_encoders_code_has_another_cache(
    tmp_path: Path, pipeline_folder: Pipelines, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path)
    installed = {"diffusers": "0.35.1", "transformers": "5.2.0"}
    monkeypatch.setattr(frozen_cache, "version", lambda name: installed[name])
    cached(model, tmp_path).prepare(rows, CPU)
    installed[library] += ".dev1"
    assert "latents" in batch(cached(model, tmp_path), rows).inputs
    installed[library] = "6.0.0"
    after = batch(cached(model, tmp_path), rows).inputs
    assert "media" in after
    assert "prompts" in after


def test_a_full_cache_on_a_disk_that_cannot_be_written_serves(
    tmp_path: Path, pipeline_folder: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path)
    cached(model, tmp_path).prepare(rows, CPU)
    for note in tmp_path.glob("cache/encoders/*"):
        note.unlink()

    def refuse(*given: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    later = cached(model, tmp_path)
    later.prepare(rows, CPU)
    assert "latents" in batch(later, rows).inputs
    assert not list(tmp_path.glob("cache/encoders/*"))
    with pytest.raises(UserError, match="cannot be made: Permission denied"):
        cached(model, tmp_path, flip=True).prepare(rows, CPU)


def test_flips_are_added_to_a_cache_without(
    tmp_path: Path, pipeline_folder: Pipelines, capsys: pytest.CaptureFixture[str]
) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path)
    cached(model, tmp_path).prepare(rows, CPU)
    capsys.readouterr()
    cached(model, tmp_path, flip=True).prepare(rows, CPU)
    assert "cache: 6 of 12 images (mirrored ones too) to encode" in capsys.readouterr().out


def test_a_batch_may_be_partly_cached(tmp_path: Path, pipeline_folder: Pipelines) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path)
    kept, live = cached(model, tmp_path), Image(str(model), cache="off")
    kept.prepare([rows[1]], CPU)
    made = batch(kept, rows)
    assert made.inputs["cached"].tolist() == [False, False, True, True, False, False]
    same(inputs_of(kept, made), inputs_of(live, batch(live, rows)))
    policy = live.load()
    with torch.no_grad():
        one, other = (m.likelihood(policy, batch(m, rows), Needs()).logps for m in (kept, live))
    assert torch.equal(one, other)


def test_a_row_hashes_alike_cached_or_not(tmp_path: Path, pipeline_folder: Pipelines) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path)
    modality = cached(model, tmp_path)
    before = content_hash(modality.encode(rows[0]).cells)
    modality.prepare(rows, CPU)
    assert content_hash(modality.encode(rows[0]).cells) == before
    assert modality.fingerprint() == Image(str(model), cache="off").fingerprint()


def test_a_truncated_file_of_the_cache_is_told_and_made_again(
    tmp_path: Path, pipeline_folder: Pipelines, capsys: pytest.CaptureFixture[str]
) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path)
    cached(model, tmp_path).prepare(rows, CPU)
    victim = next(tmp_path.glob("cache/latents-*/*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:100])
    capsys.readouterr()
    again = cached(model, tmp_path)
    assert "media" in batch(again, rows).inputs
    again.prepare(rows, CPU)
    told = capsys.readouterr().out
    assert f"cache: {victim} was damaged and is removed" in told
    assert "cache: 6 images to encode" in told
    assert "media" not in batch(again, rows).inputs


@pytest.mark.parametrize("content", [b"no image", None])
def test_a_file_that_changed_since_the_scan_is_told_by_row(
    tmp_path: Path, pipeline_folder: Pipelines, content: bytes | None
) -> None:
    rows = comparisons(tmp_path)
    path = Path(rows[1].candidates[1].response.path)
    path.unlink() if content is None else path.write_bytes(content)
    modality = cached(pipeline_folder("stable_diffusion"), tmp_path)
    with pytest.raises(RowError, match=r"pairs.jsonl, row 1: [\s\S]*1-1.png"):
        modality.prepare(rows, CPU)


def test_a_prompt_that_is_no_text_is_refused(tmp_path: Path, pipeline_folder: Pipelines) -> None:
    row = comparisons(tmp_path, 1)[0]
    with pytest.raises(RowError, match="the prompt is not text: it is of the type NoneType"):
        cached(pipeline_folder("stable_diffusion"), tmp_path).encode(Comparison(None, row.candidates))


def test_ranks_share_the_work(tmp_path: Path, pipeline_folder: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path, 8)
    monkeypatch.setattr(preparation.torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(preparation.torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(preparation, "SECONDS_UNTIL_SEEN", 0.0)
    monkeypatch.setattr(encoded_modality, "wait_for_ranks", lambda device: None)
    left = []
    for rank in range(2):
        monkeypatch.setattr(preparation.torch.distributed, "get_rank", lambda rank=rank: rank)
        modality = cached(model, tmp_path)
        # Nobody waits here: the first finds that the other has not encoded its share.
        with nullcontext() if rank else pytest.raises(UserError, match="that other processes"):
            modality.prepare(rows, CPU)
        assert modality.cache is not None
        lack = Survey(modality, modality.cache, rows).media
        assert lack is not None
        left.append(len(lack.missing))
    assert 0 < left[0] < 16
    assert left[1] == 0
    assert modality.cache.latents is not None
    records = sum(len(load_file(path)["keys"]) for path in modality.cache.latents.folder.glob("*.safetensors"))
    assert records == 16


def test_pixels_without_an_encoder_are_neither_kept_nor_rounded(tmp_path: Path, pipeline_folder: Pipelines) -> None:
    model, rows = pipeline_folder("stable_diffusion_pixels"), comparisons(tmp_path)
    modality = cached(model, tmp_path)
    modality.prepare(rows, CPU)
    made = batch(modality, rows)
    assert "prompts" not in made.inputs
    mean, std = latents_of(modality.encode_batch(made).inputs)
    assert std is None
    assert torch.equal(mean, made.inputs["media"].float() / 127.5 - 1)
    assert not list(tmp_path.glob("cache/latents-*"))


def test_a_disk_that_is_too_small_is_refused_before(
    tmp_path: Path, pipeline_folder: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda path: os.statvfs_result and _Free(3000))
    with pytest.raises(UserError, match=r"The cache needs 7.\d KB, and the disk of .* has 3.0 KB free"):
        cached(pipeline_folder("stable_diffusion"), tmp_path).prepare(comparisons(tmp_path), CPU)


class _Free:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_folder_that_is_a_file_is_refused_by_the_name_of_its_option(
    tmp_path: Path, pipeline_folder: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, row = str(pipeline_folder("stable_diffusion")), comparisons(tmp_path, 1)[0]
    file = tmp_path / "file"
    file.write_text("no folder")
    for folder in (file, file / "below"):
        with pytest.raises(
            ConfigError, match=r"modality.cache_folder is to be a folder[\s\S]*file' is a file[\s\S]*->"
        ):
            Image(model, cache_folder=str(folder)).encode(row)
    monkeypatch.setenv("MODALIGN_CACHE", str(file))
    with pytest.raises(ConfigError, match=r"MODALIGN_CACHE is to be a folder[\s\S]*Set modality.cache_folder"):
        Image(model).encode(row)


def test_a_folder_that_cannot_be_read_is_told_with_its_option(
    tmp_path: Path, pipeline_folder: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, row = pipeline_folder("stable_diffusion"), comparisons(tmp_path, 1)[0]
    modality = cached(model, tmp_path)
    assert modality.cache is not None
    plain_stat = Path.stat

    def refuse(path: Path, **options: Any) -> Any:
        if "latents-" in path.name:
            raise PermissionError(13, "Permission denied")
        return plain_stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(UserError, match=r"cannot be read: Permission denied[\s\S]*Set modality.cache_folder"):
        modality.encode(row)


def test_contradicting_options_are_refused(pipeline_folder: Pipelines) -> None:
    model = str(pipeline_folder("stable_diffusion"))
    with pytest.raises(ConfigError, match=r"crop is random, and modality.cache is disk[\s\S]*cache: off"):
        Image(model, crop="random")
    Image(model, crop="random", cache="off")
    with pytest.raises(ConfigError, match="cache_folder is given"):
        Image(model, cache="off", cache_folder="x")
    with pytest.raises(ConfigError, match=r"cache is 'disc'[\s\S]*'disk'"):
        CacheOptions(cache="disc")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"cache_dtype is 'fp16'[\s\S]*float16"):
        CacheOptions(dtype="fp16")  # type: ignore[arg-type]


def test_values_that_overflow_are_refused() -> None:
    with pytest.raises(UserError, match=r"prompt encodings do not fit float16: the largest is 7e\+04[\s\S]*bfloat16"):
        prompt_record({"x": torch.full((1, 2), 7e4)}, torch.float16)
    with pytest.raises(UserError, match=r"latents do not fit float32: the largest is nan[\s\S]*encoder_dtype"):
        medium_record(torch.full((2,), torch.nan), torch.ones(2), torch.float32)
    ids = torch.tensor([[70000]])
    assert torch.equal(prompt_record({"ids": ids}, torch.float16)["ids"], ids[0])
