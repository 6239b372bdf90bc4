"""Models in a layout of their authors' are converted once, whole or not at all."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from modalign.core.errors import UserError
from modalign.modalities.diffusion import layouts
from modalign.modalities.diffusion.layouts import PublishedLayout
from modalign.modalities.diffusion.loading import PipelineSource
from modalign.modalities.image.modality import Image


class Toy(PublishedLayout):
    """One file, which names the pipeline it becomes."""

    name: ClassVar[str] = "toy"
    marker: ClassVar[str] = "toy.txt"
    files: ClassVar[tuple[str, ...]] = ("toy.txt", "toy.bin")
    conversions: ClassVar[list[Path]] = []

    @classmethod
    def convert(cls, folder: Path, target: Path) -> None:
        cls.conversions.append(folder)
        shutil.copytree((folder / "toy.txt").read_text(), target, dirs_exist_ok=True)
        if (folder / "toy.bin").read_text() == "torn":
            raise UserError("toy.bin is torn.")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, pipeline_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A folder in the toy layout, and a cache of its own."""
    monkeypatch.setattr(layouts, "layouts", lambda: [Toy])
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "cache"))
    Toy.conversions.clear()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "toy.txt").write_text(str(pipeline_folder("stable_diffusion")))
    (folder / "toy.bin").write_text("weights")
    return folder


def kept(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache" / "pipelines").iterdir() if path.is_dir())


def test_a_model_is_converted_once(toy: Path, tmp_path: Path) -> None:
    modality = Image(str(toy), cache="off")
    assert modality.load() is not None
    assert modality.resolution == 16
    assert PipelineSource(str(toy)).resolved() == modality.source.resolved()
    assert kept(tmp_path) == [Path(modality.source.resolved())]
    assert Toy.conversions == [toy.resolve()]
    modality.export(modality.load(), tmp_path / "out", "card")
    assert (tmp_path / "out" / "model_index.json").is_file()
    (toy / "toy.bin").write_text("other weights")
    changed = Path(PipelineSource(str(toy)).resolved())
    assert changed in kept(tmp_path)
    assert len(kept(tmp_path)) == len(Toy.conversions) == 2


def test_half_a_conversion_is_never_used(toy: Path, tmp_path: Path) -> None:
    (toy / "toy.bin").write_text("torn")
    source = PipelineSource(str(toy))
    for count in (1, 2):
        with pytest.raises(UserError, match=r"toy\.bin is torn"):
            source.resolved()
        assert len(Toy.conversions) == count
        assert [path.suffix for path in kept(tmp_path)] == [".partial"]
    left = kept(tmp_path)[0]
    (left / "of a killed process").touch()
    stamp = (toy / "toy.bin").stat()
    (toy / "toy.bin").write_text("mend")  # as long, so that its place in the cache is the same
    os.utime(toy / "toy.bin", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    found = Path(source.resolved())
    assert kept(tmp_path) == [found]
    assert found == left.with_suffix("")
    assert not (found / "of a killed process").exists()


def test_threads_and_processes_wait_for_the_first(toy: Path, tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(PipelineSource(str(toy)).resolved())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == len(kept(tmp_path)) == len(Toy.conversions) == 1
    assert len(found) == 4


def test_what_is_refused(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"variant is 'fp16', and .* is in toy's own layout"):
        PipelineSource(str(toy), variant="fp16").resolved()
    (toy / "toy.bin").unlink()
    with pytest.raises(UserError, match=r"is in toy's own layout, and lacks toy\.bin"):
        PipelineSource(str(toy)).resolved()
    (toy / "toy.txt").unlink()
    with pytest.raises(UserError, match=r"holds none of the expected files: model_index\.json"):
        PipelineSource(str(toy)).resolved()
    monkeypatch.setenv("MODALIGN_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    for name in Toy.files:
        (toy / name).write_text("x")
    with pytest.raises(UserError, match="cannot be converted into"):
        PipelineSource(str(toy)).resolved()


def test_a_diffusers_folder_is_used_as_it_is(toy: Path, pipeline_folder: Callable[[str], Path]) -> None:
    shutil.copy(pipeline_folder("stable_diffusion") / "model_index.json", toy)
    assert PipelineSource(str(toy)).resolved() == str(toy.resolve())
    assert not Toy.conversions
