"""Whether the events that a prompt names are heard in the order in which it names them."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar

from torch import Tensor

from modalign.core.errors import ConfigError, RowError, UserError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.events import DEFAULT_EVENTS, Event, outside, spells
from modalign.modalities.audio.rewards.heard import SoundReward, heard
from modalign.modalities.audio.rewards.orders import Wanted, wanted


class EventOrder(SoundReward):
    """Share of the prompt's orders that hold: 1 for all, 0 for none.

    They are compared by their onsets: where each is heard first (see `rewards.events.spells`), however long it goes on
    and whether it comes again. What is heard as an event of limited length, such as beeps, is not also a longer one of
    the prompt, such as a tone; what lies in the band of one, such as a low tone, is not also one of a wider band, such
    as a tone. `a then b` holds where both are heard and b begins later than a by `margin`. A prompt with several orders
    (`a then b then c` has three) has the share that holds; one that names events in no order, the share of its events
    that is heard. A prompt is refused if two of its events differ in neither kind, band, speed nor longest.

    Args:
        events: What the events sound like, by the names that prompts call them; tones (low, high), chirps, beeps and
            noise where it is left out.
        threshold: Evidence, from 0 to 1, from which an event is heard; lower for blurred sounds.
        dynamic_range: In decibels: what is softer than the loudest moment by more is not heard.
        margin: Seconds by which the onsets of two events must differ.

    Raises:
        ConfigError: An option is out of range.
    """

    name: ClassVar[str] = "event_order"

    def __init__(
        self,
        events: Mapping[str, Event] | None = None,
        threshold: float = 0.4,
        dynamic_range: float = 30.0,
        margin: float = 0.02,
    ) -> None:
        self.events = dict(DEFAULT_EVENTS if events is None else events)
        if not self.events:
            raise ConfigError("event_order: events is empty.", "Describe at least one, or leave it out.")
        for name, event in self.events.items():
            event.check(name)
        if not 0 < threshold < 1 or dynamic_range <= 0 or margin < 0:
            raise ConfigError(
                f"event_order: threshold is {threshold}, dynamic_range {dynamic_range}, margin {margin}.",
                "Give 0 < threshold < 1, a positive dynamic_range and a margin of at least 0.",
            )
        self.threshold, self.dynamic_range, self.margin = threshold, dynamic_range, margin

    def check_prompts(self, prompts: Sequence[Any]) -> None:
        """See `Reward.check_prompts`.

        Raises:
            UserError: A prompt is no text.
            RowError: A prompt names none of the events, one twice, or two that sound alike.
        """
        if strange := [prompt for prompt in prompts if not isinstance(prompt, str)]:
            raise UserError(f"event_order was given a prompt of type {type(strange[0]).__name__}.", "Prompts are text.")
        for prompt in prompts:
            self._wanted(prompt)

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N sounds; see `SoundReward.score`.

        Raises:
            UserError: A prompt is no text.
            RowError: A prompt names none of the events, one twice, or two that sound alike; or a file
                cannot be read as a sound.
        """
        self.check_prompts(prompts)
        return super().score(prompts, candidates)

    def judge(self, prompt: Any, clip: Clip) -> float:
        asked, onsets = self._wanted(prompt), self.onsets(prompt, clip)
        if not asked.order:
            return sum(onset is not None for onset in onsets.values()) / len(onsets)
        held = 0
        for first, second in asked.order:
            before, after = onsets[first], onsets[second]
            held += before is not None and after is not None and after - before >= self.margin
        return held / len(asked.order)

    def unheard(self, prompt: Any) -> float:
        self._wanted(prompt)
        return 0.0

    def onsets(self, prompt: str, response: Any) -> dict[str, float | None]:
        """When each event of a prompt is heard first, in seconds; None for one that is not.

        Args:
            prompt: Names events.
            response: `Clip` or `Media`.

        Raises:
            RowError: The prompt names none of the events, one twice, or two that sound alike; or a file
                cannot be read as a sound.
        """
        names, clip = self._wanted(prompt).events, heard(response)
        if clip is None:
            return dict.fromkeys(names)
        found = {
            name: spells(clip, self.events[name], self.threshold, self.dynamic_range, self._narrower(name, names))
            for name in names
        }
        limited = {name for name in names if self.events[name].longest is not None}
        taken = [spell for name in limited for spell in found[name]]
        own = {name: found[name] if name in limited else outside(found[name], taken) for name in names}
        return {name: each[0][0] if each else None for name, each in own.items()}

    def _narrower(self, name: str, others: Sequence[str]) -> list[Event]:
        """Those that sound like an event but for their bands, which lie within its own."""
        event = self.events[name]
        return [
            self.events[other]
            for other in others
            if event.alike(self.events[other]) and self.events[other].within(event)
        ]

    def _wanted(self, prompt: str) -> Wanted:
        asked = wanted(prompt, list(self.events))
        if not asked.events:
            raise RowError(
                f"a prompt names no event: {prompt!r}",
                f"Events: {', '.join(self.events)}; describe others by event_order's option events.",
                "prompt",
            )
        for first, second in combinations(asked.events, 2):
            one, other = self.events[first], self.events[second]
            if one.alike(other) and one.band == other.band:
                raise RowError(
                    f"a prompt names two events that sound alike: {first!r} and {second!r} in {prompt!r}",
                    "Name one of them, or describe them so that they differ in kind, band, speed or longest.",
                    "prompt",
                )
        return asked
