from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.data_utils import prepare_multimodal_messages

from modalign.core.errors import RowError
from modalign.core.fetched import FetchedMedia
from modalign.core.media import Media
from modalign.modalities.vision_language.formats.vision_preference import VisionPreference
from tests.modalities.vision_language.formats.samples import BLUE, RED, TRL, asked, said, stored, texts, typed

PAIR = {"chosen": "A cat.", "rejected": "A dog."}
PARTS = st.lists(st.sampled_from([None, "What?", "And here?"]), min_size=1, max_size=4)
MESSAGES = st.builds(lambda role, parts: said(role, *parts), st.sampled_from(["system", "user"]), PARTS) | st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    st.sampled_from(["Look.", "Who?"]),
)


def parse(row, **options):
    (comparison,) = VisionPreference(**options).parse(row)
    return comparison


def parts_of(message):
    """A message's parts, text as it is and images by their paths."""
    content = message["content"]
    parts = [typed(content)] if isinstance(content, str) else content
    return [
        getattr(part["image"], "path", part["image"]) if part["type"] == "image" else part["text"] for part in parts
    ]


def placed_by_trl(messages, images):
    try:
        return [parts_of(message) for message in prepare_multimodal_messages(messages, images)]
    except ValueError:
        return None


def placed_here(messages, images):
    try:
        return [parts_of(message) for message in parse({"prompt": messages, "images": images, **PAIR}).prompt]
    except RowError as error:
        return error.reason


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.lists(st.sampled_from(["a.png", "b.png", "c.png"]), max_size=3))
def test_images_are_placed_as_trl_places_them(messages, images):
    expected, found = placed_by_trl(messages, images), placed_here(messages, images)
    if expected is not None:
        assert found in (expected, "empty question")
    elif not isinstance(found, str):
        # Where the typed messages have all the places, TRL adds others to the first message that is a string.
        assert [part for parts in found for part in parts if part in images] == images
        assert any(isinstance(message["content"], str) for message in messages)


@pytest.mark.parametrize(
    ("prompt", "images", "expected"),
    [
        ("Q", ["a.png"], ["a.png", "Q"]),
        ("Q", "a.png", ["a.png", "Q"]),
        ("Q", stored(RED), [RED, "Q"]),
        ("Q", [], ["Q"]),
        ("Q", None, ["Q"]),
        ("Q", ["a.png", RED], ["a.png", RED, "Q"]),
        ("<image>\nQ", ["a.png"], ["a.png", "Q"]),
        ("See <image> and <image>: Q", ["a.png", "b.png"], ["See ", "a.png", " and ", "b.png", ": Q"]),
        ([said("system", "Be brief."), said("user", None, "Q")], ["a.png"], ["Be brief.", "a.png", "Q"]),
        (
            [said("user", None, "1"), said("assistant", "2"), said("user", "3", None)],
            ["a", "b"],
            ["a", "1", "2", "3", "b"],
        ),
        ([{"role": "user", "content": "<image>Q"}], ["a.png"], ["a.png", "Q"]),
        ([{"role": "user", "content": [{"type": "image", "image": "x.png"}, typed("Q")]}], [], ["x.png", "Q"]),
        (
            [{"role": "user", "content": [{"type": "image", "path": "x.png"}, typed("Q")]}],
            [],
            ["x.png", "Q"],
        ),
        ([{"role": "user", "content": [{"type": "image", "bytes": RED}, typed("Q")]}], None, [RED, "Q"]),
        ([{"role": "user", "content": [{"type": "image", "text": None}, typed("Q")]}], ["a.png"], ["a.png", "Q"]),
    ],
)
def test_prompts_and_images(prompt, images, expected):
    assert asked(parse({"prompt": prompt, "images": images, **PAIR}).prompt) == expected


def test_an_image_url_of_openais_dialect_is_an_image():
    url = "data:image/png;base64," + b64encode(RED).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, typed("Q")]
    assert asked(parse({"prompt": [{"role": "user", "content": content}], **PAIR}).prompt) == [RED, "Q"]


@pytest.mark.parametrize(
    ("changes", "problem", "column"),
    [
        (
            {"images": ["a.png", "b.png"], "prompt": "<image>Q"},
            "places for 1, and the row has 2",
            "prompt",
        ),
        ({"images": [], "prompt": "<image>Q"}, "places for 1, and the row has 0", "prompt"),
        ({"images": [stored(RED), stored(BLUE)]}, "places for 1, and the row has 2", "prompt"),
        ({"prompt": [said("user", "Q")]}, "places for 0, and the row has 1", "prompt"),
        ({"prompt": "<image>"}, "empty question", "prompt"),
        ({"prompt": ""}, "empty question", "prompt"),
        ({"prompt": [said("user", None)]}, "empty question", "prompt"),
        ({"prompt": []}, "empty list", "prompt"),
        ({"prompt": None}, "no value", "prompt"),
        ({"prompt": [{"role": "cat", "content": "Q"}]}, "unknown role", "prompt[0]"),
        ({"images": [None]}, "not an image", "images[0]"),
        ({"images": 3}, "not an image", "images"),
        ({"images": [""]}, "no image", "images[0]"),
        ({"images": ["https://x.org/a.png"]}, "a URL", "images[0]"),
        ({"chosen": [said("assistant", None, "A cat.")]}, "a response is text, and this holds image", "chosen"),
        (
            {"chosen": [said("user", "A cat.")], "rejected": [said("user", "b")]},
            "does not end with the assistant",
            "chosen",
        ),
        ({"chosen": [said("assistant", " ")]}, "empty response", "chosen"),
        ({"chosen": "A cat."}, "mixed forms", "rejected"),
        ({"chosen": TRL["rejected"]}, "identical responses", "rejected"),
        ({"other_images": ["b.png", "c.png"]}, "2 other images for a prompt with 1", "other_images"),
        ({"other_response": " "}, "empty response", "other_response"),
        ({"rejected_images": ["b.png", "c.png"]}, "places for 1, and the row has 2", "prompt"),
        ({"chosen_score": "best"}, "not a number", "chosen_score"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image", "image": 3}, typed("Q")]}], "images": []},
            "not an image",
            "prompt: image",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_column_and_cure(changes, problem, column):
    with pytest.raises(RowError, match=problem) as caught:
        parse(TRL | changes)
    assert caught.value.column == column
    assert caught.value.cure


def test_a_pair_of_images_may_not_be_one_image():
    row = {"prompt": "Q", "chosen": "A cat.", "images": ["a.png"], "rejected_images": ["a.png"]}
    with pytest.raises(RowError, match="identical responses"):
        parse(row)
    assert texts(parse(row | {"rejected": "A dog."})) == ["A cat.", "A dog."]
    conversation = [said("user", None, "Q"), said("assistant", "A cat.")]
    comparison = parse({"chosen": conversation, "images": ["a.png"], "rejected_images": ["b.png"]})
    assert (asked(comparison.prompt), asked(comparison.candidates[1].context)) == (["a.png", "Q"], ["b.png", "Q"])
    with pytest.raises(RowError, match="no prompt"):
        parse({"chosen": "Q A cat.", "images": ["a.png"], "rejected_images": ["b.png"]})


def test_text_that_both_responses_begin_with_is_the_prompt():
    comparison = parse({"image": "a.png", "chosen": "Q: who? A cat.", "rejected": "Q: who? A dog."})
    assert asked(comparison.prompt) == ["a.png", "Q: who? A"]
    assert texts(comparison) == [" cat.", " dog."]


def test_a_text_prompt_may_repeat_what_the_conversations_begin_with():
    turns = [said("user", None, "Q")]
    row = {"prompt": "<image> Q", "image": "a.png"}
    row |= {side: [*turns, said("assistant", answer)] for side, answer in PAIR.items()}
    assert asked(parse(row).prompt) == ["a.png", "Q"]
    with pytest.raises(RowError, match="not that of the conversations"):
        parse(row | {"prompt": "Another"})


def test_chexaligns_rows():
    """Qwen's list format in the prompt, or paths in a column of their own, one text for several."""
    row = {
        "chosen": "No effusion.",
        "rejected": "Effusion.",
        "reference": "-",
        "reward_chosen": 0.7,
        "reward_rejected": 0.2,
    }
    written = "Picture 1: <img>p/1.jpg</img>\nPicture 2: <img>p/2.jpg</img>\nFindings?"
    pattern = r"Picture \d+: <img>(.*?)</img>\n"
    for comparison in (
        parse(row | {"prompt": written}, images_in_prompt=pattern),
        parse(row | {"prompt": "Findings?", "paths": "p/1.jpg|p/2.jpg"}, images="paths", separator="|"),
    ):
        assert asked(comparison.prompt) == ["p/1.jpg", "p/2.jpg", "Findings?"]
        assert [candidate.score for candidate in comparison.candidates] == [0.7, 0.2]
    with pytest.raises(RowError, match="images_in_prompt looks for images in text"):
        parse(TRL, images_in_prompt=pattern)


def test_the_root_is_put_before_relative_paths(tmp_path):
    row = {"prompt": "Q", "images": ["a.png", "/b.png"], "other_images": ["c.png", RED], **PAIR}
    comparison = parse(row, root=str(tmp_path))
    assert asked(comparison.prompt)[:2] == [f"{tmp_path}/a.png", "/b.png"]
    assert comparison.extra["other_images"] == (Media(f"{tmp_path}/c.png"), Media(data=RED))


def test_addresses_are_fetched_only_with_permission():
    row = {"prompt": "Q", "image": "https://x.org/a.png", **PAIR}
    with pytest.raises(RowError, match="a URL") as caught:
        parse(row)
    assert "allow_urls: true" in caught.value.cure
    assert parse(row, allow_urls=True).prompt[0]["content"][0]["image"] == FetchedMedia("https://x.org/a.png")
    for url in ("file:///etc/passwd", "ftp://x.org/a.png", "s3://x/a.png", "https:///a.png"):
        with pytest.raises(RowError, match="a URL that is not fetched"):
            parse(row | {"image": url}, allow_urls=True)


def test_weight_and_tools_come_along():
    tools = [{"type": "function", "function": {"name": "zoom"}}]
    comparison = parse({**TRL, "importance": 2, "tools": tools}, weight="importance")
    assert (comparison.weight, comparison.extra) == (2.0, {"tools": tools})


def test_another_prompt_asks_of_the_same_images():
    row = {"prompt": "Which colour?", "image": "a.png", **PAIR}
    image = {"type": "image", "image": Media("a.png")}
    for written in ("Which shape?", [{"role": "user", "content": [{"type": "image"}, typed("Which shape?")]}]):
        other = parse(row | {"other_prompt": written}).extra["other_prompt"]
        assert other == [{"role": "user", "content": [image, typed("Which shape?")]}]
    for written in ("<image> or <image>?", [{"role": "user", "content": [{"text": "x"}]}], [1]):
        with pytest.raises(RowError) as caught:
            parse(row | {"other_prompt": written})
        assert caught.value.column.startswith("other_prompt")
