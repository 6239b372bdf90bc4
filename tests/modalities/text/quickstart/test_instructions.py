"""The generated instruction set: varied, correct, and honest about what training sees."""

from collections import Counter

import pytest

from modalign.modalities.text.quickstart.instructions import (
    OPENINGS,
    Instruction,
    make_demonstrations,
    make_instructions,
)


def test_training_never_sees_the_unseen_prompts_but_sees_their_subjects() -> None:
    instructions = make_instructions(0)
    train = {i.prompt for i in instructions.train}
    unseen = {i.prompt for i in instructions.unseen}
    assert len(train) == len(instructions.train) == 3 * len(unseen)
    assert len(unseen) == len(instructions.unseen) > 80
    assert not train & unseen
    assert {i.bodies for i in instructions.unseen} == {i.bodies for i in instructions.train}


def test_the_seed_alone_decides() -> None:
    assert make_instructions(3) == make_instructions(3)
    assert {i.prompt for i in make_instructions(3).unseen} != {i.prompt for i in make_instructions(4).unseen}
    train = make_instructions(3).train
    assert make_demonstrations(train, 2, 0) == make_demonstrations(train, 2, 0)
    assert make_demonstrations(train, 2, 0) != make_demonstrations(train, 2, 1)


def test_demonstrations_are_correct_and_of_all_styles() -> None:
    train = make_instructions(0).train
    by_prompt = {i.prompt: i for i in train}
    rows = make_demonstrations(train, 10, 0)
    assert len(rows) == len({tuple(row.values()) for row in rows}) == 10 * len(train)
    assert set(Counter(row["prompt"] for row in rows).values()) == {10}
    assert all(by_prompt[row["prompt"]].is_answered_by(row["completion"]) for row in rows)
    openings = Counter(style for row in rows for style in ("polite", "blunt") if _opens(row["completion"], style))
    assert 0.15 < openings["polite"] / len(rows) < 0.3
    assert 0.3 < openings["blunt"] / len(rows) < 0.5
    assert {len(row["completion"].split()) for row in rows} >= set(range(3, 17))


def test_an_answer_about_another_subject_of_the_same_kind_is_wrong() -> None:
    unseen = make_instructions(0).unseen
    checked = 0
    for asked in unseen:
        wanted = frozenset().union(*(words for words, _ in asked.needs))
        for other in unseen:
            if wanted & other.excludes:
                checked += 1
                assert not any(asked.is_answered_by(body) for body in other.bodies), (asked.prompt, other.prompt)
    assert checked > 1500


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("Of course! Plum and lime.", True),
        ("PLUM, LIME.", True),
        ("Plum and plum.", False),
        ("Plums and limes.", False),
        ("Plum, lime and hammer.", False),
        ("", False),
    ],
)
def test_an_answer_needs_whole_words_enough_of_them_and_no_wrong_ones(answer: str, correct: bool) -> None:
    instruction = Instruction("Name two fruits.\n", (), ((frozenset({"plum", "lime"}), 2),), frozenset({"hammer"}))
    assert instruction.is_answered_by(answer) is correct


def _opens(completion: str, style: str) -> bool:
    return completion.startswith(OPENINGS[style])
