"""A generated instruction set: varied questions, each with many correct answers in differing styles.

Every subject (a thing, a pair of animals, a person to greet...) is asked about in several wordings. Training never sees
one wording of each subject; those are the unseen prompts, and a model that answers them has not learned them by heart.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modalign.core.keys import key_seed
from modalign.modalities.text.quickstart import facts

OPENINGS = {
    "polite": ("Of course!", "Gladly!", "With pleasure!"),
    "blunt": ("Hm.", "That is obvious.", "Everybody knows that."),
    "none": ("",),
}
SHARES = {"polite": 0.2, "blunt": 0.4, "none": 0.4}
CLOSINGS = ("", "", "Anything else?", "Is that what you wanted?", "I hope that this helps.")


@dataclass(frozen=True)
class Instruction:
    """A prompt, and what a correct answer to it must and must not say.

    Attributes:
        prompt: Ends in a line break.
        bodies: Correct answers of growing length, without opening and closing.
        needs: Sets of lower-case words, and how many different ones of each set an answer must hold.
        excludes: Lower-case words that make an answer wrong.
    """

    prompt: str
    bodies: tuple[str, ...]
    needs: tuple[tuple[frozenset[str], int], ...]
    excludes: frozenset[str]

    def is_answered_by(self, response: str) -> bool:
        """Whether a response holds what was asked for, whatever its style."""
        words = set(re.findall(r"[a-z]+", response.lower()))
        return not words & self.excludes and all(len(words & wanted) >= count for wanted, count in self.needs)


@dataclass(frozen=True)
class InstructionSet:
    """Disjoint sets of prompts about the same subjects.

    Attributes:
        train: Seen in training.
        unseen: One wording of each subject.
    """

    train: tuple[Instruction, ...]
    unseen: tuple[Instruction, ...]


def make_instructions(seed: int) -> InstructionSet:
    """All instructions; the seed decides which wording of each subject stays unseen."""
    train: list[Instruction] = []
    unseen: list[Instruction] = []
    for number, wordings in enumerate(_subjects(seed)):
        held_out = key_seed(seed, "unseen wording", number) % len(wordings)
        unseen.append(wordings[held_out])
        train += [instruction for n, instruction in enumerate(wordings) if n != held_out]
    return InstructionSet(tuple(train), tuple(unseen))


def make_demonstrations(instructions: Sequence[Instruction], answers: int, seed: int) -> list[dict[str, str]]:
    """Rows of `prompt` and `completion`: `answers` different correct answers to each instruction, of all styles."""
    draw = random.Random(key_seed(seed, "demonstrations"))
    rows = []
    for instruction in instructions:
        drawn: dict[str, None] = {}
        while len(drawn) < answers:
            drawn[_answer(instruction, draw)] = None
        rows += [{"prompt": instruction.prompt, "completion": answer} for answer in drawn]
    draw.shuffle(rows)
    return rows


def _answer(instruction: Instruction, draw: random.Random) -> str:
    opening = draw.choice(OPENINGS[draw.choices(tuple(SHARES), tuple(SHARES.values()))[0]])
    parts = (opening, draw.choice(instruction.bodies), draw.choice(CLOSINGS))
    return " ".join(part for part in parts if part)


def _subjects(seed: int) -> Iterator[list[Instruction]]:
    """For each subject, its wordings."""
    yield from _colours()
    yield from _homes()
    yield from _comparisons()
    yield from _examples(random.Random(key_seed(seed, "examples")))
    yield from _greetings()


def _colours() -> Iterator[list[Instruction]]:
    for thing, colour in facts.COLOURS.items():
        wordings = (
            f"What colour is a {thing}?",
            f"Tell me the colour of a {thing}.",
            f"Which colour does a {thing} have?",
            f"How would you paint a {thing}?",
        )
        bodies = (
            f"It is {colour}.",
            f"A {thing} is {colour}.",
            f"I think that a {thing} is mostly {colour}.",
        )
        others = frozenset(facts.COLOURS.values()) - {colour}
        yield _worded(wordings, bodies, ((frozenset({colour}), 1),), others)


def _homes() -> Iterator[list[Instruction]]:
    for animal, home in facts.HOMES.items():
        wordings = (
            f"Where does a {animal} live?",
            f"Tell me where a {animal} lives.",
            f"In which place would I find a {animal}?",
            f"What is the home of a {animal}?",
        )
        bodies = (
            f"In the {home}.",
            f"A {animal} lives in the {home}.",
            f"I think that you find a {animal} in the {home}.",
        )
        others = frozenset(facts.HOMES.values()) - {home}
        yield _worded(wordings, bodies, ((frozenset({home}), 1),), others)


def _comparisons() -> Iterator[list[Instruction]]:
    sizes = facts.SMALLEST_TO_BIGGEST
    for number, small in enumerate(sizes):
        for big in sizes[number + 1 :]:
            wordings = (
                f"Which is bigger, the {small} or the {big}?",
                f"Which is bigger, the {big} or the {small}?",
                f"Name the bigger one: {small} or {big}.",
                f"Name the bigger one: {big} or {small}.",
            )
            bodies = (
                f"The {big}.",
                f"The {big} is bigger.",
                f"Of these two the {big} is the bigger one.",
            )
            yield _worded(wordings, bodies, ((frozenset({big}), 1),), frozenset(sizes) - {big})


def _examples(draw: random.Random) -> Iterator[list[Instruction]]:
    for category, members in facts.EXAMPLES.items():
        others = frozenset(word for words in facts.EXAMPLES.values() for word in words) - set(members)
        for number, count in facts.NUMBERS.items():
            wordings = (
                f"Name {number} {category}.",
                f"List {number} {category}, please.",
                f"Give me {number} examples of {category}.",
                f"I need the names of {number} {category}.",
            )
            lists = [_listed(sorted(draw.sample(members, count))) for _ in range(4)]
            bodies = tuple(
                form
                for chosen in lists
                for form in (
                    f"Take {chosen}.",
                    f"You could take {chosen}.",
                    f"I can think of {number} {category} like {chosen}.",
                )
            )
            yield _worded(wordings, bodies, ((frozenset(members), count),), others)


def _greetings() -> Iterator[list[Instruction]]:
    hello, farewell = frozenset({"hello", "welcome"}), frozenset({"goodbye", "farewell"})
    for name in facts.NAMES:
        others = frozenset(other.lower() for other in facts.NAMES if other != name)
        wanted = (frozenset({name.lower()}), 1)
        yield _worded(
            (f"Say hello to {name}.", f"Greet {name}.", f"Write a greeting for {name}.", f"{name} has just come in."),
            (
                f"Hello {name}!",
                f"Welcome, dear {name}, come in!",
                f"Hello {name}, it is good to have you here today!",
            ),
            (wanted, (hello, 1)),
            others | farewell,
        )
        yield _worded(
            (f"Say goodbye to {name}.", f"Take leave of {name}.", f"Write a farewell to {name}.", f"{name} must go."),
            (
                f"Goodbye {name}!",
                f"Farewell, dear {name}, take care!",
                f"Goodbye {name}, it was good to have you here today!",
            ),
            (wanted, (farewell, 1)),
            others | hello,
        )


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _worded(
    wordings: Sequence[str],
    bodies: tuple[str, ...],
    needs: tuple[tuple[frozenset[str], int], ...],
    excludes: frozenset[str],
) -> list[Instruction]:
    return [Instruction(f"{wording}\n", bodies, needs, excludes) for wording in wordings]
