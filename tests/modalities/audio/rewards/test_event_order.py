"""Event order on sounds whose events and times are known."""

import numpy as np
import pytest
import torch

from modalign.core.errors import ConfigError, RowError, UserError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.event_order import EventOrder
from modalign.modalities.audio.rewards.events import DEFAULT_EVENTS, Event
from modalign.modalities.audio.rewards.orders import wanted

RATE = 8000
NAMES = list(DEFAULT_EVENTS)


def tone(frequency, seconds=0.5, level=0.3):
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)


def noise(seconds=0.5, level=0.1, seed=0):
    return level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def beeps(frequency=1500, count=3):
    return np.concatenate([np.concatenate([tone(frequency, 0.08), np.zeros(round(0.08 * RATE))]) for _ in range(count)])


def clip(*parts, channels=1):
    return Clip(torch.tensor(np.concatenate(parts), dtype=torch.float32).expand(channels, -1), RATE)


SOUNDS = {
    "a low tone": lambda: tone(400),
    "a high tone": lambda: tone(2000),
    "noise": noise,
    "beeps": beeps,
}


@pytest.mark.parametrize("first", SOUNDS)
@pytest.mark.parametrize("second", SOUNDS)
def test_every_pair_of_sounds_is_right_as_named_and_wrong_reversed(first, second):
    if first == second:
        return
    right, swapped = clip(SOUNDS[first](), SOUNDS[second]()), clip(SOUNDS[second](), SOUNDS[first]())
    prompt = f"{first} then {second}"
    assert EventOrder().score([prompt, prompt], [right, swapped]).tolist() == [1, 0]


def test_onsets_are_where_events_begin():
    sound = clip(np.zeros(800), tone(400, 0.4), np.zeros(1600), noise(0.3))
    onsets = EventOrder().onsets("noise after a low tone", sound)
    assert onsets == {"noise": pytest.approx(0.7, abs=0.02), "low tone": pytest.approx(0.1, abs=0.02)}


def test_an_event_that_goes_on_or_comes_again_is_in_order_by_its_onset():
    # The low tone's middle is after the high tone's in both.
    goes_on = tone(400, 3.0)
    goes_on[4000:8000] += tone(2000)
    again = np.concatenate([tone(400, 0.2), tone(2000), tone(400, 2.0)])
    for sound in (clip(goes_on), clip(again)):
        scores = EventOrder().score(["a low tone then a high tone", "a high tone then a low tone"], [sound, sound])
        assert scores.tolist() == [1, 0]


def test_an_event_is_heard_down_to_the_dynamic_range():
    for decibels, score in ((-25, 1), (-35, 0)):
        sound = clip(tone(400, level=0.5), tone(2000, level=0.5 * 10 ** (decibels / 20)))
        assert EventOrder().score(["a low tone then a high tone"], [sound]).item() == score
    assert EventOrder(dynamic_range=40.0).score(["a low tone then a high tone"], [sound]).item() == 1


def test_an_event_that_is_missing_has_no_onset():
    assert EventOrder().onsets("a low tone then noise", clip(tone(400)))["noise"] is None
    # Where a tone begins or ends at once, a few frames sound like noise.
    assert EventOrder().onsets("noise then a tone", clip(np.zeros(4000), tone(2011), np.zeros(4000)))["noise"] is None


def test_several_orders_share_the_score():
    prompt = "a low tone, then a high tone followed by noise"
    low, high, rush = tone(400), tone(2000), noise()
    sounds = [
        clip(low, high, rush),
        clip(high, low, rush),
        clip(rush, high, low),
        clip(low, rush),
        clip(high, rush, low),
    ]
    expected = [1, 2 / 3, 0, 1 / 3, 1 / 3]
    assert EventOrder().score([prompt] * 5, sounds).tolist() == pytest.approx(expected)


def test_events_in_no_order_count_by_being_heard():
    sounds = [clip(noise(), tone(400)), clip(tone(400)), clip(np.zeros(RATE))]
    assert EventOrder().score(["noise and a low tone"] * 3, sounds).tolist() == [1, 0.5, 0]


def test_level_channels_and_rate_do_not_matter():
    loud = np.concatenate([tone(400), noise()])
    for level in (1e-2, 1, 50):
        sound = Clip(torch.tensor(level * loud, dtype=torch.float32).expand(2, -1), RATE)
        assert EventOrder().score(["a low tone then noise"], [sound]).item() == 1
    at_44k = Clip(torch.tensor(np.concatenate([np.sin(np.arange(22050) * 0.05), noise(2.75)])).float()[None], 44100)
    assert EventOrder().score(["a low tone then noise"], [at_44k]).item() == 1


def test_what_is_overlaid_is_in_no_order():
    both, order = clip(tone(400) + tone(2000)), EventOrder(threshold=0.3)
    onsets = order.onsets("a low tone and a high tone", both)
    assert onsets["low tone"] == onsets["high tone"] == pytest.approx(0, abs=0.02)
    assert order.score(["a low tone then a high tone", "a high tone then a low tone"], [both, both]).tolist() == [0, 0]


@pytest.mark.parametrize(
    "broken",
    [torch.zeros(1, 0), torch.zeros(1, 4000), torch.full((1, 4000), torch.nan), torch.zeros(1, 1), torch.ones(1, 3)],
    ids=["empty", "silent", "nan", "one frame", "three frames"],
)
def test_what_cannot_be_heard_scores_nothing(broken):
    assert EventOrder().score(["beeps then noise"], [Clip(broken, RATE)]).tolist() == [0]


@pytest.mark.parametrize(
    ("prompt", "events", "order"),
    [
        ("A low tone then noise", ["low tone", "noise"], {("low tone", "noise")}),
        ("a low tone followed by noise", ["low tone", "noise"], {("low tone", "noise")}),
        ("beeps before a chirp", ["beeps", "chirp"], {("beeps", "chirp")}),
        ("noise until beeps", ["noise", "beeps"], {("noise", "beeps")}),
        ("noise after a high tone", ["noise", "high tone"], {("high tone", "noise")}),
        ("after beeps, noise", ["beeps", "noise"], {("beeps", "noise")}),
        ("before the noise, two chirps", ["noise", "chirp"], {("chirp", "noise")}),
        ("noise and after that beeps", ["noise", "beeps"], {("noise", "beeps")}),
        ("noise, preceded by beeps", ["noise", "beeps"], {("beeps", "noise")}),
        ("first a tone, then a chirp", ["tone", "chirp"], {("tone", "chirp")}),
        ("noise over a tone", ["noise", "tone"], set()),
        (
            "a tone then a chirp then noise",
            ["tone", "chirp", "noise"],
            {("tone", "chirp"), ("chirp", "noise"), ("tone", "noise")},
        ),
        ("silence, then a tone and noise", ["tone", "noise"], set()),
        ("after a short pause a tone and noise", ["tone", "noise"], set()),
        ("silence before a tone and noise", ["tone", "noise"], set()),
        ("a dog barks", [], set()),
        ("undertones", [], set()),
    ],
)
def test_orders_are_read_from_prompts(prompt, events, order):
    found = wanted(prompt, NAMES)
    assert list(found.events) == events
    assert found.order == order


def test_events_of_ones_own():
    events = {"hum": Event("tone", (80.0, 150.0)), "hiss": Event("noise", (2000.0, None)), "bang": Event(longest=0.1)}
    hiss = np.diff(noise(0.5), n=3, prepend=[0, 0, 0])
    reward = EventOrder(events, threshold=0.5)
    sounds = [clip(tone(110), hiss), clip(hiss, tone(110))]
    assert reward.score(["a hum then a hiss"] * 2, sounds).tolist() == [1, 0]
    bang = clip(np.zeros(4000), noise(0.05), np.zeros(4000), tone(110))
    assert reward.score(["a bang then a hum"], [bang]).item() == 1


def test_prompts_that_say_too_little_or_too_much_are_refused():
    sound = clip(noise())
    with pytest.raises(RowError, match="names no event: 'a dog'"):
        EventOrder().score(["a dog"], [sound])
    with pytest.raises(RowError, match="names no event: 'a dog'"):
        EventOrder().check_prompts(["noise", "a dog"])
    with pytest.raises(RowError, match="names an event twice: 'noise'"):
        EventOrder().score(["noise then a beep then noise"], [sound])
    with pytest.raises(UserError, match="prompt of type list"):
        EventOrder().score([["noise"]], [sound])
    assert EventOrder().score([], []).shape == (0,)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 1.0},
        {"dynamic_range": 0.0},
        {"margin": -1.0},
        {"events": {}},
        {"events": {"a": Event("tones")}},
        {"events": {"a": Event(band=(500.0, 100.0))}},
        {"events": {"a": Event(times=0)}},
        {"events": {"a": Event(shortest=1.0, longest=0.5)}},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        EventOrder(**options)
