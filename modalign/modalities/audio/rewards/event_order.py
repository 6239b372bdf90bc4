"""Whether the events that a prompt names are heard in the order in which it names them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from modalign.core.errors import ConfigError, RowError, UserError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.events import DEFAULT_EVENTS, Event, Wanted, sounding, wanted
from modalign.modalities.audio.rewards.heard import SoundReward, heard


class EventOrder(SoundReward):
    """Share of the prompt's orders that hold: 1 for all, 0 for none.

    An event's time is the middle of where it is heard, weighted by evidence (see `rewards.events.sounding`), so that
    lengths and pauses do not matter. `a then b` holds where both are heard and b's time is later than a's by `margin`.
    A prompt with several orders (`a then b then c` has three) has the share that holds; one that names events in no
    order, the share of its events that is heard.

    Args:
        events: What the events sound like, by the names that prompts call them; tones (low, high), chirps, beeps and
            noise where it is left out.
        threshold: Evidence, from 0 to 1, from which an event is heard; lower for blurred sounds.
        dynamic_range: In decibels: what is softer than the loudest moment by more is not heard.
        margin: Seconds by which the times of two events must differ.

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

    def score(self, prompts: Sequence[Any], candidates: Sequence[Any]) -> Tensor:
        """Score N sounds; see `SoundReward.score`.

        Raises:
            UserError: A prompt is no text.
            RowError: A prompt names none of the events, or one twice; or a file cannot be read as a sound.
        """
        if strange := [prompt for prompt in prompts if not isinstance(prompt, str)]:
            raise UserError(f"event_order was given a prompt of type {type(strange[0]).__name__}.", "Prompts are text.")
        return super().score(prompts, candidates)

    def judge(self, prompt: Any, clip: Clip) -> float:
        asked, times = self._wanted(prompt), self.times(prompt, clip)
        if not asked.order:
            return sum(time is not None for time in times.values()) / len(times)
        held = 0
        for first, second in asked.order:
            before, after = times[first], times[second]
            held += before is not None and after is not None and after - before >= self.margin
        return held / len(asked.order)

    def unheard(self, prompt: Any) -> float:
        self._wanted(prompt)
        return 0.0

    def times(self, prompt: str, response: Any) -> dict[str, float | None]:
        """When each event of a prompt is heard, in seconds; None for one that is not.

        Args:
            prompt: Names events.
            response: `Clip` or `Media`.

        Raises:
            RowError: The prompt names none of the events, or one twice; or a file cannot be read as a sound.
        """
        clip, names = heard(response), self._wanted(prompt).events
        return {name: None if clip is None else self._time(name, clip) for name in names}

    def _time(self, name: str, clip: Clip) -> float | None:
        times, evidence = sounding(clip, self.events[name], self.threshold, self.dynamic_range)
        return float((times * evidence).sum() / evidence.sum()) if evidence.any() else None

    def _wanted(self, prompt: str) -> Wanted:
        asked = wanted(prompt, list(self.events))
        if not asked.events:
            raise RowError(
                f"a prompt names no event: {prompt!r}",
                f"Events: {', '.join(self.events)}; describe others by event_order's option events.",
                "prompt",
            )
        return asked
