"""Data of images through the program: `modalign check` with a tiny Stable Diffusion."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from modalign.cli import main
from modalign.core.errors import UserError
from modalign.modalities.diffusion.export import export_adapter, export_pipeline
from modalign.modalities.image.families.stable_diffusion import StableDiffusion
from modalign.modalities.image.modality import Image
from tests.modalities.image.tiny import picture

CONFIG = """\
model:
  modality: {class_path: image, init_args: {model: PIPELINE, resolution: 16, cache: "off"}}
  objective: dpo
  optimizer: {class_path: AdamW, init_args: {lr: 0.01}}
data: {train: DATA, batch_size: 2}
trainer: {max_epochs: 1, accelerator: cpu, default_root_dir: run}
export: {enabled: false}
"""
LABELS = ("0", "1", "0.5", "0.5", "1.0")


def encoded(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


def write_shard(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for key, label in enumerate(LABELS):
            members = {
                "caption.txt": f"a red circle {key}".encode(),
                "jpg_0.jpg": encoded(2 * key),
                "jpg_1.jpg": encoded(2 * key + 1),
                "label_0.txt": label.encode(),
            }
            for suffix, data in members.items():
                member = tarfile.TarInfo(f"{key:04d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def check(
    tmp_path: Path, stable_diffusion: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    def check(data: Path, *options: str, pipeline: Path = stable_diffusion) -> tuple[int, str]:
        config = CONFIG.replace("PIPELINE", str(pipeline)).replace("DATA", str(data))
        (tmp_path / "run.yaml").write_text(config)
        capsys.readouterr()
        status = main(("check", "--config", "run.yaml", *options))
        return status, capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    return check


def test_ties_of_a_shard_are_left_out_aloud_or_kept(check, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "pairs.tar")
    status, out = check(shard, "--data.format", "auto")
    assert status == 0, out
    assert "5 rows read, 3 kept, 2 skipped (tie: 2)" in out
    status, out = check(shard, "--data.format", "pick_a_pic", "--data.format.ties", "keep")
    assert status == 0, out
    assert "5 rows read, 5 kept, 0 skipped" in out
    assert "7 comparisons, 7 pairs" in out
    assert "contradictions (swapped sides, opposite labels): 0" in out
    status, out = check(shard, "--data.format", "pick_a_pic", "--data.format.ties", "error")
    assert status == 1
    assert "pairs.tar, row 2, column 'label_0': tie" in out


def test_a_folder_of_pictures_with_its_table(check, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = []
    for number in range(3):
        for side in ("a", "b"):
            (folder / f"{number}{side}.png").write_bytes(encoded(2 * number + (side == "b")))
        rows.append({"prompt": "a green star", "chosen": f"{number}a.png", "rejected": f"{number}b.png"})
    rows.append({"prompt": "a green star", "chosen": "0a.png", "rejected": "https://example.org/b.png"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out = check(folder)
    assert status == 1
    assert "metadata.jsonl, row 3, column 'rejected': a URL" in out
    status, out = check(folder, "--data.on_bad_row", "skip")
    assert status == 0, out
    assert "4 rows read, 3 kept, 1 skipped (a URL: 1)" in out


def test_a_format_of_text_is_refused(check, tmp_path: Path) -> None:
    status, out = check(write_shard(tmp_path / "pairs.tar"), "--data.format", "trl_preference")
    assert status == 1
    assert "'trl_preference' reads responses of text, and the modality of the run is 'image'" in out
    assert "data.format: auto" in out


def test_a_mistake_that_stands_in_the_way_of_the_data_too_is_told_once(check, tmp_path: Path) -> None:
    status, out = check(write_shard(tmp_path / "pairs.tar"), "--model.modality.resolution", "15")
    assert status == 1
    assert out.count("modality.resolution is 15") == 1
    assert "1 problem\n" in out


@pytest.mark.parametrize("family", [(), ("--model.modality.family", "stable_diffusion")])
@pytest.mark.parametrize("name", ["FancyPipeline", "UNet2DConditionModel"])
def test_a_pipeline_that_diffusers_does_not_have(
    check, tmp_path: Path, stable_diffusion: Path, name: str, family: tuple[str, ...]
) -> None:
    copied = Path(shutil.copytree(stable_diffusion, tmp_path / "fancy"))
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))
    status, out = check(write_shard(tmp_path / "pairs.tar"), *family, pipeline=copied)
    assert status == 1
    assert f"fancy' is a {name}, which is no pipeline of diffusers" in out
    assert "install a diffusers that has this one" in out
    modality = Image(str(copied), family="stable_diffusion", cache="off")
    with pytest.raises(UserError, match="no pipeline of diffusers"):
        _ = modality.family
    unet = Image(str(stable_diffusion)).load()
    for write in (export_pipeline, export_adapter):
        with pytest.raises(UserError, match="no pipeline of diffusers"):
            write(unet, modality.source, StableDiffusion, tmp_path / "out", "card", False)
    assert not (tmp_path / "out").exists()
