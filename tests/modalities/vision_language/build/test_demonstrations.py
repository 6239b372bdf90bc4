"""Demonstrations: of any format with one image a prompt; what is unusable is counted with its reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from modalign.core.batch import Candidate, Comparison
from modalign.core.errors import RowError, UserError
from modalign.core.media import Media
from modalign.core.sources import open_rows
from modalign.modalities.vision_language.build.demonstrations import Demonstrations, demonstration
from modalign.modalities.vision_language.build.image_files import image_files, written_path
from modalign.modalities.vision_language.prompts import answer, images_of, question
from modalign.plugins.formats.auto import AutoFormat
from tests.modalities.vision_language.build.scenes import write_scenes
from tests.modalities.vision_language.build.teller import Teller

IMAGE = Media("a.png")


def opened(path: Path, limit: int | None = None) -> Demonstrations:
    return Demonstrations([open_rows(path)], AutoFormat(), Teller(), limit)


def test_llava_rows_are_read_and_equal_images_counted_once(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "data", 6)
    pictures = tmp_path / "data" / "pictures"
    (pictures / "3.png").write_bytes((pictures / "1.png").read_bytes())
    (pictures / "4.png").unlink()
    survey = opened(path).survey()
    assert (survey.rows, len(survey.places), len(survey.keys)) == (6, 5, 4)
    assert survey.images == [0, 1, 2, 1, 3]
    (gone,) = survey.left_out
    assert gone.row == 4
    assert "a file cannot be read: " in gone.message
    assert "4.png': No such file" in gone.message
    found = opened(path).at(survey.places[1])
    assert found.chosen == json.loads(path.read_text().splitlines()[1])["conversations"][1]["value"]
    assert images_of(found.prompt) == [Media(str(pictures / "1.png"))]
    assert opened(path, limit=2).survey().rows == 2


def test_the_surveys_hash_sees_every_change(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "data", 3)
    before = opened(path).survey().content
    assert opened(path).survey().content == before
    text = path.read_text()
    path.write_text(text.replace("What is", "Who is"))
    asked = opened(path).survey().content
    path.write_text(text)
    picture = tmp_path / "data" / "pictures" / "2.png"
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert len({before, asked, opened(path).survey().content}) == 3


def test_pairs_give_their_chosen_response(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "data", 1)
    row = {"image": "pictures/0.png", "prompt": "What?", "chosen": "A good one.", "rejected": "A bad one."}
    (tmp_path / "data" / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    demonstrations = opened(path.parent / "pairs.jsonl")
    survey = demonstrations.survey()
    assert demonstrations.at(survey.places[0]).chosen == "A good one."


def test_unusable_data_is_refused_with_its_reasons(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    (tmp_path / "text.jsonl").write_text(json.dumps({"conversations": turns}) + "\n")
    with pytest.raises(UserError, match=r"None of 1 rows can be used:\n.*the prompt has 0 images, not one"):
        opened(tmp_path / "text.jsonl").survey()


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        (Comparison(question("?", [IMAGE]), (Candidate(answer("a")),)), "no response is said to be good"),
        (Comparison(question("?", [IMAGE, IMAGE]), (Candidate(answer("a"), "chosen"),)), "has 2 images, not one"),
        (Comparison(question("?", [IMAGE]), (Candidate(answer(" "), "chosen"),)), "the chosen response is empty"),
        (Comparison(question("?", [IMAGE]), (Candidate(answer("a") * 2, "chosen"),)), "not one message of text"),
    ],
)
def test_what_is_no_demonstration_is_refused(comparison: Comparison, message: str) -> None:
    with pytest.raises(RowError, match=message):
        demonstration(comparison)


def test_images_in_rows_are_saved_beside_and_others_stay_where_they_are(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "data", 3)
    content = (tmp_path / "data" / "pictures" / "1.png").read_bytes()
    from base64 import b64encode

    rows: list[Any] = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["image"] = "data:image/png;base64," + b64encode(content).decode()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    demonstrations = opened(path)
    survey = demonstrations.survey()
    files = image_files(tmp_path / "out", demonstrations, survey)
    assert [written_path(file, tmp_path / "out") for file in files] == [
        str(tmp_path / "data" / "pictures" / "0.png"),
        f"images/{survey.keys[1]}.png",
        str(tmp_path / "data" / "pictures" / "2.png"),
    ]
    assert Path(files[1].path).read_bytes() == content
    assert image_files(tmp_path / "out", demonstrations, survey) == files
