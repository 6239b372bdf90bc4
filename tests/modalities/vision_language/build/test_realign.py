"""`modalign build realign` as a whole: what it writes, resumes and refuses."""

import json
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from modalign.cli import main
from modalign.core.parsing import parse_row
from modalign.core.sources import open_rows
from modalign.modalities.vision_language.build import pipeline
from modalign.modalities.vision_language.build.embedding import Embedding
from modalign.modalities.vision_language.prompts import images_of
from modalign.plugins.formats.auto import AutoFormat
from modalign.plugins.manager import registry
from tests.cli.conftest import Ran, run  # noqa: F401
from tests.modalities.vision_language.build.teller import KILL_AFTER, Teller, seen_colour

ROOT = Path(__file__).parents[4]
TELLER = "tests.modalities.vision_language.build.teller.Teller"
CONFIG = f"""\
model:
  modality: {TELLER}
  objective: dpo
data:
  train: unused.jsonl
"""
Build = Callable[..., Ran]


@pytest.fixture
def arguments(scenes: Path, clip_folder: Path, tmp_path: Path) -> list[str]:
    """Of a command that the toy modality carries out."""
    (tmp_path / "run.yaml").write_text(CONFIG)
    clip = ["--embedder", "clip", f"model={clip_folder}"]
    return ["build", "realign", "--config", str(tmp_path / "run.yaml"), "--data", str(scenes), *clip]


@pytest.fixture
def build(run: Callable[..., Ran], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:  # noqa: F811
    """Runs it in chunks of five, into `out` unless told otherwise."""
    monkeypatch.setattr(pipeline, "ROWS_AT_ONCE", 5)

    def build(*more: str, out: str = "out") -> Ran:
        return run(*arguments, "--out", str(tmp_path / out), *more)

    return build


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def test_rows_are_dual_preferences_that_the_format_reads(build: Build, tmp_path: Path, scenes: Path) -> None:
    ran = build()
    assert ran.status == 0, ran.err
    rows = written(tmp_path / "out")
    told = [json.loads(line)["conversations"] for line in scenes.read_text().splitlines()]
    source = open_rows(tmp_path / "out" / "pairs.jsonl")
    format = AutoFormat().resolve(source.columns(), source.name, Teller())
    assert format.name == "realign"
    for number, row in enumerate(rows):
        (pair,) = parse_row(source[number], format, source.place(number))
        (image,), (other,) = images_of(pair.prompt), pair.extra["other_images"]
        assert Path(image.path) == scenes.parent / "pictures" / f"{row['row']}.png"
        assert other.read() != image.read()
        assert pair.candidate("chosen").response[0]["content"] == told[row["row"]][1]["value"]
        assert pair.candidate("rejected").response[0]["content"] == f"It is {seen_colour(other)}."
        assert row["source"] == str(scenes)
        assert 0 <= row["rank"] < 10
        assert row["text_similarity"] < 0.95
    counted = report(tmp_path / "out")
    assert counted["written"] + sum(counted["left_out"].values()) == counted["rows"] == 24
    assert len(rows) == counted["written"] == 24
    assert f"{len(rows)} rows written, 0 left out" in ran.out


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(build: Build, tmp_path: Path) -> None:
    assert build().status == 0
    whole = (tmp_path / "out" / "pairs.jsonl").read_bytes()
    journal = (tmp_path / "out" / "chunks.jsonl").read_bytes().splitlines(keepends=True)
    assert len(journal) == 5
    ends = [0, *(json.loads(line)["bytes"] for line in journal)]
    for number, (chunks, extra, torn) in enumerate([(0, 0, 0), (0, 700, 0), (2, 0, 9), (2, 33, 0), (4, 10**9, 20)]):
        out = tmp_path / f"out{number}"
        shutil.copytree(tmp_path / "out", out)
        (out / "pairs.jsonl").write_bytes(whole[: ends[chunks] + extra])
        (out / "chunks.jsonl").write_bytes(b"".join(journal[:chunks]) + journal[chunks][:torn])
        if number % 2:
            (out / "neighbours.npz").unlink()
            shutil.rmtree(out / "embeddings")
        assert build(out=out.name).status == 0
        assert (out / "pairs.jsonl").read_bytes() == whole
        assert report(out)["written"] == 24


def test_a_real_kill_is_survived(
    build: Build, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KILL_AFTER, "12")
    process = get_context("fork").Process(target=main, args=([*arguments, "--out", str(tmp_path / "killed")],))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    monkeypatch.delenv(KILL_AFTER)
    assert len((tmp_path / "killed" / "chunks.jsonl").read_text().splitlines()) == 2
    assert build(out="killed").status == build(out="whole").status == 0
    first, second = ((tmp_path / out / "pairs.jsonl").read_bytes() for out in ("killed", "whole"))
    assert first == second
    assert len(first.splitlines()) == 24


def test_what_is_done_is_not_done_again(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build().status == 0

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr(Embedding, "_computed", forbidden)
    monkeypatch.setattr(Teller, "sample", forbidden)
    monkeypatch.setattr(Teller, "load", forbidden)
    assert build().status == 0


def test_a_changed_option_or_row_is_refused_by_name(build: Build, scenes: Path) -> None:
    assert build().status == 0
    ran = build("--accept-below", "0.9", "--similarity", "-1", "0.99")
    assert ran.status == 2
    assert "similarity: [-1.0, 1.0] there, [-1.0, 0.99] now" in ran.err
    assert "accept_below: 0.95 there, 0.9 now" in ran.err
    scenes.write_text(scenes.read_text().replace("What is", "Who is"))
    assert "demonstrations: '24, hash" in build().err


def test_rows_that_were_cut_by_others_are_not_silently_filled_up(build: Build, tmp_path: Path) -> None:
    assert build().status == 0
    path = tmp_path / "out" / "pairs.jsonl"
    path.write_bytes(path.read_bytes()[:100])
    assert "is shorter than when it was last written" in build().err


def test_what_is_left_out_is_counted_with_its_reason(build: Build, scenes: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in scenes.read_text().splitlines()]
    rows[0].pop("image")
    rows[0]["conversations"][0]["value"] = "Hi"
    rows[1]["conversations"][1]["value"] = "It is."
    rows[2]["image"] = "pictures/none.png"
    rows[3]["conversations"][0]["value"] = "<image>\nunanswerable"
    (scenes.parent / "pictures" / "4.png").write_bytes(b"no image")
    rows[5]["conversations"][1]["value"] = "red"
    scenes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = build("--neighbours", "1")
    assert ran.status == 0, ran.err
    counted = report(tmp_path / "out")
    assert counted["rows"] == 24
    assert counted["written"] + sum(counted["left_out"].values()) == 24
    reasons = {row["row"]: row["reason"] for row in counted["left_out_rows"]}
    assert "the prompt has 0 images, not one" in reasons[0]
    assert reasons[1] == "the chosen response has no word to blank"
    assert "none.png': No such file" in reasons[2]
    assert reasons[3] == "the prompt does not fit: it has 900 tokens"
    assert reasons[4].startswith("the file is not an image that can be read")
    for row in written(tmp_path / "out"):
        assert row["row"] not in reasons
        assert Path(row["retrieved_image"]).name != "4.png"
    assert "left out: 1, the prompt does not fit" in ran.out


def test_a_policy_that_never_differs_leaves_all_rows_out(build: Build, scenes: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in scenes.read_text().splitlines()]
    for row in rows:
        row["conversations"][1]["value"] = "It is grey."
    scenes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tmp_path / "run.yaml"
    config.write_text(
        CONFIG.replace(f"modality: {TELLER}", f"modality: {{class_path: {TELLER}, init_args: {{blind: true}}}}")
    )
    ran = build("--rejected", "regenerate", "--neighbours", "3")
    assert ran.status == 0, ran.err
    counted = report(tmp_path / "out")
    assert counted["left_out"] == {"no answer accepted": 24}
    assert counted["answers"] == {"the same as the chosen": 72}
    assert written(tmp_path / "out") == []


def test_images_in_rows_are_saved_beside(build: Build, scenes: Path, tmp_path: Path) -> None:
    assert build(out="files").status == 0
    rows = [json.loads(line) for line in scenes.read_text().splitlines()]
    for row in rows:
        row["image"] = "data:image/png;base64," + b64encode((scenes.parent / row["image"]).read_bytes()).decode()
    scenes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert build().status == 0
    inside, outside = written(tmp_path / "out"), written(tmp_path / "files")
    assert [row["rejected"] for row in inside] == [row["rejected"] for row in outside]
    for one, other in zip(inside, outside, strict=True):
        for name in ("image", "retrieved_image"):
            assert one[name].startswith("images/")
            assert (tmp_path / "out" / one[name]).read_bytes() == Path(other[name]).read_bytes()


def test_words_of_a_list_alone_are_blanked(build: Build, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red\nblue\ngreen\nyellow\n")
    assert build("--words", str(tmp_path / "words.txt")).status == 0
    assert {row["masked"].split("____")[0] for row in written(tmp_path / "out")} == {"The picture shows a "}
    assert build("--rejected", "regenerate", out="anew").status == 0
    assert all("masked" not in row for row in written(tmp_path / "anew"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--neighbours", "0"], "--neighbours is 0"),
        (["--similarity", "0.9", "0.1"], "--similarity is 0.9 0.1"),
        (["--mask-share", "2"], "--mask-share is 2.0"),
        (["--accept-below", "95"], "--accept-below is 95.0"),
        (["--rejected", "regenerate", "--instruction", "x"], "--instruction has no effect"),
        (["--rejected", "regenerate", "--mask-share", "0.5"], "--mask-share has no effect"),
        (["--words", "w.txt", "--mask-share", "0.5"], "--mask-share has no effect with --words"),
        (["--embedder", "clap"], "did you mean 'clip'"),
        (["--embedder", "policy"], "needs a vision tower"),
        (["--text-similarity", "encoder"], "needs a model"),
        (["--instruction", "Fill it."], "Write {masked} in it"),
        (["--format", "lava"], "lava"),
        (["--index", "flatt"], "did you mean 'flat'"),
        (["--base"], "unrecognized arguments: --base"),
        (["--model", "m", "--modality", "text"], "--modality is given, and the config names one"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(
    build: Build, tmp_path: Path, more: list[str], message: str
) -> None:
    ran = build(*more)
    assert ran.status == 2
    assert message in ran.err
    assert not (tmp_path / "out").exists()


def test_only_what_is_known_is_built(run: Callable[..., Ran]) -> None:  # noqa: F811
    assert "did you mean 'realign'" in run("build", "realing").err
    assert "is not told what to make" in run("build").err
    assert "realign" in run("build", "--help").out
    assert registry().load("command", "build") is not None


def test_the_command_on_a_tiny_llava(scenes: Path, llava_folder: Path, tmp_path: Path) -> None:
    """By its own vision tower, in a process of its own."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "modalign", "build", "realign", "--model", str(llava_folder)]
    command += ["--modality", "vision_language", "max_length=256", "--data", str(scenes), "--out", str(out)]
    command += ["--limit", "12", "--sampling", "max_new_tokens=8", "--neighbours", "4", "--device", "cpu"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    counted = report(out)
    assert counted["rows"] == counted["images"] == 12
    assert 0 < counted["written"] == len(written(out)) == 12 - sum(counted["left_out"].values())
    source = open_rows(out / "pairs.jsonl")
    realign = registry().load("format", "realign")()
    pairs = [pair for number in range(len(source)) for pair in parse_row(source[number], realign, source.place(number))]
    assert all(pair.extra["other_images"][0].read() for pair in pairs)
