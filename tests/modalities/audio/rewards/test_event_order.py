"""Event order on sounds whose events and times are known."""

from itertools import permutations

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
BEEPS = {"a beep", "beeps"}
"""A prompt with both is refused."""


def tone(frequency, seconds=0.5, level=0.3, rate=RATE):
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def noise(seconds=0.5, level=0.1, seed=0, rate=RATE):
    return level * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def beeps(frequency=1500, count=3, rate=RATE):
    beep, pause = tone(frequency, 0.08, rate=rate), np.zeros(round(0.08 * rate))
    return np.concatenate([beep, pause] * count)


def chirp(first, last, seconds=0.5, level=0.3, rate=RATE):
    times = np.arange(round(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * (first + (last - first) * times / (2 * seconds)) * times)


def clip(*parts, channels=1, rate=RATE):
    return Clip(torch.tensor(np.concatenate(parts), dtype=torch.float32).expand(channels, -1), rate)


SOUNDS = {
    "a low tone": lambda rate: tone(400, rate=rate),
    "a high tone": lambda rate: tone(2000, rate=rate),
    "a tone": lambda rate: tone(800, rate=rate),
    "noise": lambda rate: noise(rate=rate),
    "a beep": lambda rate: np.pad(tone(1200, 0.2, rate=rate), rate // 10),
    "beeps": lambda rate: beeps(rate=rate),
    "a chirp": lambda rate: chirp(900, 2500, rate=rate),
}
CHIRPS = [(900, 2500), (2500, 900), (200, 2000), (2000, 200), (400, 650), (650, 400)]


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize(("first", "second"), [each for each in permutations(SOUNDS, 2) if set(each) != BEEPS])
def test_every_pair_of_sounds_is_right_as_named_and_wrong_reversed(first, second, rate):
    sounds = [SOUNDS[first](rate), SOUNDS[second](rate)]
    prompt = f"{first} then {second}"
    scores = EventOrder().score([prompt] * 2, [clip(*sounds, rate=rate), clip(*reversed(sounds), rate=rate)])
    assert scores.tolist() == [1, 0]


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("ends", CHIRPS)
@pytest.mark.parametrize("name", [name for name in SOUNDS if name != "a chirp"])
def test_chirps_that_rise_or_fall_are_told_from_every_other_event(name, ends, rate):
    before, after = f"{name} then a chirp", f"a chirp then {name}"
    glide, other = chirp(*ends, rate=rate), SOUNDS[name](rate)
    sounds = [clip(other, glide, rate=rate), clip(glide, other, rate=rate)]
    assert EventOrder().score([before, before, after, after], sounds * 2).tolist() == [1, 0, 0, 1]


def test_a_chirp_is_heard_from_where_the_frequency_begins_to_move():
    sound = clip(tone(400, 0.5), chirp(400, 1600), tone(1600, 0.5))
    for threshold in (0.2, 0.4):
        onsets = EventOrder(threshold=threshold).onsets("a low tone, a chirp and a high tone", sound)
        assert onsets == {
            "low tone": pytest.approx(0, abs=0.02),
            "chirp": pytest.approx(0.5, abs=0.03),
            "high tone": pytest.approx(1.0, abs=0.03),
        }


@pytest.mark.parametrize("second", [410, 440, 500, 640, 800, 2000])
def test_neither_a_jump_between_tones_nor_a_little_noise_is_a_chirp(second):
    sound = np.concatenate([tone(400), tone(second)])
    for level in (0, 0.02):
        assert EventOrder().onsets("a chirp", clip(sound + noise(1.0, level)))["chirp"] is None


def test_speed_is_in_octaves_a_second():
    # 500 Hz times 2 to the power of twice the seconds.
    times = np.arange(RATE) / RATE
    sound = clip(np.sin(2 * np.pi * 500 * 4**times / np.log(4)))
    for speed, heard in {(1.9, 2.1): True, (0.0, 1.9): False, (2.1, None): False}.items():
        onset = EventOrder({"siren": Event("tone", speed=speed)}).onsets("a siren", sound)["siren"]
        assert (onset is not None) == heard


def test_what_is_in_a_narrower_band_is_not_also_in_a_wider_one():
    low, high = tone(400), tone(2000)
    prompts = ["a tone then a low tone", "a high tone then a tone", "a tone then a high tone"]
    assert EventOrder().score(prompts, [clip(high, low)] * 3).tolist() == [1, 1, 0]
    assert EventOrder().score(["a low tone and a tone"] * 2, [clip(low), clip(low + high)]).tolist() == [0.5, 1]
    assert EventOrder().score(["a tone"] * 2, [clip(low), clip(high)]).tolist() == [1, 1]


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
    with pytest.raises(RowError, match="two events that sound alike: 'beep' and 'beeps'"):
        EventOrder().check_prompts(["a beep then beeps"])
    hums = {"hum": Event("tone", (80.0, 150.0)), "drone": Event("tone", (80.0, 150.0), shortest=0.2)}
    with pytest.raises(RowError, match="'hum' and 'drone' in 'a hum before a drone'"):
        EventOrder(hums).score(["a hum before a drone"], [sound])
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
        {"events": {"a": Event("tone", speed=(1.0, 0.5))}},
        {"events": {"a": Event("tone", speed=(-1.0, None))}},
        {"events": {"a": Event("noise", speed=(0.5, None))}},
        {"events": {"a": Event(shortest=1.0, longest=0.5)}},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        EventOrder(**options)
