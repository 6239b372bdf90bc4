"""Rejected responses: asked for under the neighbour, accepted where they differ enough, or the next one is tried."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from modalign.core.errors import ConfigError
from modalign.core.media import Media
from modalign.modalities.vision_language.build.asking import AskAnew, Asking, AskToFill, as_written
from modalign.modalities.vision_language.build.demonstrations import Demonstration
from modalign.modalities.vision_language.build.masking import BLANK, Masking
from modalign.modalities.vision_language.build.rejection import Case, Rejection, Sampling
from modalign.modalities.vision_language.build.text_similarity import TextSimilarity
from modalign.modalities.vision_language.prompts import answer, images_of, question, with_images
from modalign.plugins.manager import registry
from tests.modalities.vision_language.build.teller import Teller

OWN = Media("own.png")
PROMPT = question("<image>\nWhat is it?", [OWN])


def told(chosen: str, prompt: Any = PROMPT) -> Demonstration:
    return Demonstration(prompt, OWN, chosen, "rows.jsonl", 3)


class Share(TextSimilarity):
    """The share of the first text's words that the second has."""

    def cosines(self, first: Any, second: Any) -> list[float]:
        return [
            len(set(one.split()) & set(other.split())) / len(one.split())
            for one, other in zip(first, second, strict=True)
        ]


@pytest.fixture
def coloured(tmp_path: Path) -> Callable[[str], Media]:
    def coloured(name: str) -> Media:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (16, 16), name).save(path)
        return Media(str(path))

    return coloured


def run(cases: list[Case], asking: Asking, accept_below: float = 0.95, modality: Teller | None = None) -> Teller:
    teller = modality or Teller()
    sampling = Sampling(teller, lambda: torch.nn.Linear(1, 1), 0, {})
    Rejection(asking, sampling, Share(), accept_below).run(cases)
    return teller


def test_answers_anew_are_asked_under_each_neighbour_until_one_is_accepted(coloured: Any) -> None:
    red, blue, green = ((coloured(name), 0.9) for name in ("red", "blue", "green"))
    cases = [
        Case(told("It is red."), [red, blue, green]),
        Case(told("It is blue."), [red, blue]),
        Case(told("It is green."), [green]),
        Case(told("It is big."), []),
    ]
    teller = run(cases, AskAnew())
    assert [(case.rank, case.rejected) for case in cases] == [
        (1, "It is blue."),
        (0, "It is red."),
        (None, ""),
        (None, ""),
    ]
    assert cases[0].tried == {"the same as the chosen": 1, "accepted": 1}
    assert cases[0].text_similarity == pytest.approx(2 / 3)
    assert cases[2].reason == "no answer accepted: 1 the same as the chosen"
    assert cases[3].reason == "no other image is as similar as --similarity asks"
    assert teller.asked == [with_images(PROMPT, [image]) for image, _ in (red, red, green, blue)]


def test_the_threshold_is_the_least_similarity_that_is_not_accepted(coloured: Any) -> None:
    for accept_below, rank in ((2 / 3, None), (2 / 3 + 1e-9, 0)):
        case = Case(told("It is red."), [(coloured("blue"), 0.5)])
        run([case], AskAnew(), accept_below)
        assert case.rank == rank
    assert case.tried == {"accepted": 1}


def test_space_around_an_answer_is_dropped(coloured: Any) -> None:
    class Says(Teller):
        def _answer(self, prompt: Any) -> list[dict[str, str]]:
            return [{"role": "assistant", "content": "\n It is\nblue. "}]

    case = Case(told("It is red."), [(coloured("blue"), 0.5)])
    run([case], AskAnew(), modality=Says())
    assert case.rejected == "It is\nblue."


@pytest.mark.parametrize(
    ("said", "verdict"),
    [(" \n", "empty"), (f"It is {BLANK}.", "with blanks left"), ("It  is red. ", "the same as the chosen")],
)
def test_answers_that_say_nothing_are_not_accepted(said: str, verdict: str, coloured: Any) -> None:
    class Says(Teller):
        def _answer(self, prompt: Any) -> list[dict[str, str]]:
            return [{"role": "assistant", "content": said}]

    case = Case(told("It is red."), [(coloured("blue"), 0.5)] * 2)
    run([case], AskAnew(), 1.1, Says())
    assert (case.rank, case.tried) == (None, {verdict: 2})


def test_a_prompt_that_the_modality_cannot_take_does_not_stop_the_others(coloured: Any) -> None:
    blue = [(coloured("blue"), 0.5)]
    cases = [
        Case(told("It is red."), blue),
        Case(told("Big.", question("unanswerable", [OWN])), blue),
        Case(told("It is green."), blue),
    ]
    run(cases, AskAnew())
    assert [case.rank for case in cases] == [0, None, 0]
    assert cases[1].reason == "the prompt does not fit: it has 900 tokens"


def test_blanks_are_filled_under_the_neighbour_by_the_instruction(coloured: Any) -> None:
    blue = coloured("blue")
    case = Case(told("The ball is red."), [(blue, 0.5)])
    teller = run([case], AskToFill(Masking(), "Fill: {masked}!"))
    (prompt,) = teller.asked
    assert images_of(prompt) == [blue]
    assert prompt[0]["content"][1] == {"type": "text", "text": f"What is it?\n\nFill: The {BLANK} is {BLANK}.!"}
    assert case.rejected == "It is blue."
    nothing = Case(told("It is."), [(blue, 0.5)])
    run([nothing], AskToFill(Masking()))
    assert nothing.reason == "the chosen response has no word to blank"


def test_the_instruction_goes_to_the_last_turn_of_the_user(coloured: Any) -> None:
    turns = [*PROMPT, *answer("A ball."), {"role": "user", "content": "Which colour?"}]
    prompt = AskToFill(Masking(), "F {masked}").prompt(told("Red.", turns), OWN)
    assert prompt is not None
    assert prompt[2]["content"] == f"Which colour?\n\nF {BLANK}."
    assert prompt[:2] == turns[:2]
    with_image_last = [{"role": "user", "content": [{"type": "image", "image": OWN}]}]
    prompt = AskToFill(Masking(), "F {masked}").prompt(told("Red.", with_image_last), OWN)
    assert prompt is not None
    assert prompt[0]["content"][1:] == [{"type": "text", "text": f"F {BLANK}."}]


def test_an_instruction_without_a_place_for_the_response_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Write \{masked\} in it"):
        AskToFill(Masking(), "Fill the blanks.")


@pytest.mark.parametrize(
    "prompt",
    [
        PROMPT,
        question("What is in <image>, and where?", [OWN]),
        question("What is it?", [OWN]),
        [{"role": "system", "content": "Be brief."}, *PROMPT, *answer("A ball."), {"role": "user", "content": "And?"}],
    ],
)
def test_written_conversations_are_read_as_the_same_prompt(prompt: Any) -> None:
    row: Mapping[str, Any] = {
        "image": "own.png",
        "retrieved_image": "other.png",
        "chosen": as_written(prompt, "Red."),
        "rejected": as_written(prompt, "Blue."),
    }
    (comparison,) = registry().load("format", "realign")().parse(row)
    assert _plain(comparison.prompt) == _plain(prompt)
    assert comparison.candidate("chosen").response == answer("Red.")
    assert comparison.candidate("rejected").response == answer("Blue.")
    assert comparison.extra["other_images"] == (Media("other.png"),)


def _plain(prompt: Any) -> Any:
    """Contents as lists of parts."""
    return [
        (
            turn["role"],
            [{"type": "text", "text": turn["content"]}] if isinstance(turn["content"], str) else turn["content"],
        )
        for turn in prompt
    ]
