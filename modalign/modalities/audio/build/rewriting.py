"""Captions that say something else: what the rejected sounds are made from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import nn

from modalign.core.errors import UserError
from modalign.core.keys import generator
from modalign.core.modality import Modality
from modalign.modalities.audio.build.captions import Caption

Change = Literal["perturbed", "temporal"]
"""What differs: one of the events, or their order."""

INSTRUCTIONS: dict[Change, str] = {
    "perturbed": (
        "Rewrite this description of a sound so that exactly one event is removed or replaced by a different event. "
        "Answer with the new description alone.\n\n{prompt}"
    ),
    "temporal": (
        "Rewrite this description of a sound so that the same events are heard in another order. Answer with the new "
        "description alone.\n\n{prompt}"
    ),
}


class Rewriter(ABC):
    """Rewrites captions; the same seed and caption give the same."""

    @abstractmethod
    def rewritten(self, prompts: Sequence[str], change: Change, count: int, seed: int) -> list[list[str]]:
        """Captions that differ from each prompt and from each other.

        Args:
            prompts: Captions.
            change: In what they are to differ.
            count: How many a prompt, at most: some captions allow fewer, or none.
            seed: Another seed, other captions.
        """


class RuleRewriter(Rewriter):
    """Removes an event, puts in one from another caption, or turns the order round where words of time say one.

    Args:
        prompts: All captions, whose events are put into each other.
    """

    def __init__(self, prompts: Iterable[str]) -> None:
        captions = [Caption.of(prompt) for prompt in prompts]
        self.events = list(
            dict.fromkeys(event for each in captions if not each.opens_with_order for event in each.events)
        )

    def rewritten(self, prompts: Sequence[str], change: Change, count: int, seed: int) -> list[list[str]]:
        """See `Rewriter.rewritten`."""
        return [self._rewritten(prompt, change, count, seed) for prompt in prompts]

    def _rewritten(self, prompt: str, change: Change, count: int, seed: int) -> list[str]:
        caption, source = Caption.of(prompt), generator(seed, "rewriting", change, prompt)
        ways = self._turned(caption) if change == "temporal" else self._perturbed(caption, source)
        order = torch.randperm(len(ways), generator=source).tolist()
        return _distinct([str(ways[number]) for number in order], prompt)[:count]

    def _turned(self, caption: Caption) -> list[Caption]:
        return [caption.turned(number) for number in range(caption.turns)]

    def _perturbed(self, caption: Caption, source: torch.Generator) -> list[Caption]:
        if caption.opens_with_order:  # an event of it cannot be taken out by these rules
            return []
        places = range(len(caption.events))
        removed = [caption.without(place) for place in places] if len(places) > 1 else []
        others = [event for event in self.events if event not in caption.events]
        if not others:
            return removed
        drawn = torch.randint(len(others), (len(places),), generator=source).tolist()
        return removed + [
            caption.with_event(place, others[number]) for place, number in zip(places, drawn, strict=True)
        ]


class ModelRewriter(Rewriter):
    """Asks a language model.

    Args:
        modality: `text`, or another whose responses are strings.
        policy: Gives the model; called when it is first needed.
        instructions: How to ask, with {prompt} in place of the caption.
        sampling: Options of the modality.

    Raises:
        UserError: An instruction has no {prompt}.
    """

    def __init__(
        self,
        modality: Modality,
        policy: Callable[[], nn.Module],
        instructions: dict[Change, str],
        sampling: dict[str, Any],
    ) -> None:
        for change in get_args(Change):
            if "{prompt}" not in instructions[change]:
                raise UserError(
                    f"the instruction for {change} captions has no {{prompt}}", "Write {prompt} where the caption goes."
                )
        self.modality, self.policy = modality, policy
        self.instructions, self.sampling = instructions, sampling

    def rewritten(self, prompts: Sequence[str], change: Change, count: int, seed: int) -> list[list[str]]:
        """See `Rewriter.rewritten`."""
        asked = [self.instructions[change].replace("{prompt}", prompt) for prompt in prompts]
        chats = [[{"role": "user", "content": text}] for text in asked]
        with torch.no_grad():
            answers = self.modality.sample(self.policy(), chats, n=count, seed=seed, **self.sampling)
        return [
            _distinct([_said(answer) for answer in each], prompt) for each, prompt in zip(answers, prompts, strict=True)
        ]


def _said(answer: Any) -> str:
    """The first line of an answer that says something, a chat's last message where it is one.

    Thoughts of a reasoning model come before it; the answer is empty where it did not get beyond them.
    """
    text = answer if isinstance(answer, str) else answer[-1]["content"]
    text = text.rpartition("</think>")[2]
    if text.lstrip().startswith("<think>"):
        return ""
    return next((line.strip().strip('"') for line in text.splitlines() if line.strip()), "")


def _distinct(texts: Iterable[str], prompt: str) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text and text.lower() != prompt.strip().lower()]
