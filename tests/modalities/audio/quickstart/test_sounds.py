"""Generated sounds are what their captions say, and the judge hears it; both orders, and after the model's own path."""

from pathlib import Path

import pytest
import torch

from modalign.core.keys import generator
from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.quickstart.judging import MEL, OrderJudge, spectrograms
from modalign.modalities.audio.quickstart.preference import write_pairs
from modalign.modalities.audio.quickstart.sounds import (
    CAPTIONS,
    EVENTS,
    ORDERS,
    RATE,
    SAMPLES,
    make_sound,
    reverse,
    write_captioned,
)

COUNT = 120
ASKED = [CAPTIONS[number % 12] for number in range(COUNT)]


@pytest.fixture(scope="module")
def judge() -> OrderJudge:
    return OrderJudge()


@pytest.fixture(scope="module")
def sounds() -> list[Clip]:
    draw = generator("sounds of a test")
    return [make_sound(ORDERS[number % 12], draw) for number in range(COUNT)]


def test_there_is_a_caption_for_every_order() -> None:
    assert len(set(CAPTIONS)) == len(ORDERS) == 12
    assert CAPTIONS[ORDERS.index((0, 3))] == "a low tone then a noise burst"
    assert reverse((0, 3)) == (3, 0)


def test_reward_is_1_on_clean_sounds_and_0_on_reversed_captions(judge: OrderJudge, sounds: list[Clip]) -> None:
    turned = [CAPTIONS[ORDERS.index(reverse(ORDERS[number % 12]))] for number in range(COUNT)]
    assert judge.score(ASKED, sounds).tolist() == [1.0] * COUNT
    assert judge.swapped(ASKED, sounds).tolist() == [0.0] * COUNT
    assert judge.score(turned, sounds).tolist() == [0.0] * COUNT
    assert judge.swapped(turned, sounds).tolist() == [1.0] * COUNT


def test_reward_is_the_same_after_spectrogram_and_back(judge: OrderJudge, sounds: list[Clip]) -> None:
    again = [Clip(samples[None], RATE) for samples in MEL.waveforms(spectrograms(sounds))]
    assert judge.score(ASKED, again).mean() == 1
    assert judge.distance(again) < 0.5 < 0.1 * judge.distance(again[:1] * COUNT)


def test_silence_and_one_event_alone_are_no_right_order(judge: OrderJudge, sounds: list[Clip]) -> None:
    silence = Clip(torch.zeros(1, SAMPLES), RATE)
    twice = [Clip(each.samples[:, : SAMPLES // 2].repeat(1, 2), RATE) for each in sounds[:12]]
    for wrong in ([silence] * 12, twice):
        assert judge.score(CAPTIONS, wrong).sum() + judge.swapped(CAPTIONS, wrong).sum() == 0


def test_distance_grows_as_sounds_leave_the_real_ones(judge: OrderJudge, sounds: list[Clip]) -> None:
    draw = generator("white noise of a test")
    noisy = [Clip(each.samples + 0.05 * torch.randn(1, SAMPLES, generator=draw), RATE) for each in sounds]
    noise = [Clip(0.3 * torch.randn(1, SAMPLES, generator=draw), RATE) for _ in sounds]
    distances = [judge.distance(each) for each in (sounds, noisy, noise)]
    assert distances == sorted(distances)


def test_spectrograms_are_standardised(sounds: list[Clip]) -> None:
    found = spectrograms(sounds)
    assert found.shape == (COUNT, 16, 16)
    assert found.mean().item() == pytest.approx(0, abs=0.1)
    assert found.std().item() == pytest.approx(1, abs=0.1)


def test_captioned_sounds_are_in_order_as_often_as_asked(judge: OrderJudge, tmp_path: Path) -> None:
    rows = write_captioned(tmp_path / "sounds", 280, right=0.6)
    prompts = [row["prompt"] for row in rows if row["prompt"] in CAPTIONS]
    files = [Media(str(tmp_path / row["audio"])) for row in rows if row["prompt"] in CAPTIONS]
    right, swapped = judge.score(prompts, files), judge.swapped(prompts, files)
    assert torch.equal(right + swapped, torch.ones(240))
    assert right.mean().item() == pytest.approx(0.6, abs=0.1)
    assert {prompts.count(caption) for caption in CAPTIONS} == {20}


def test_captioned_sounds_of_one_event_are_that_event_throughout(judge: OrderJudge, tmp_path: Path) -> None:
    rows = [row for row in write_captioned(tmp_path / "sounds", 56, right=0.6) if row["prompt"] in EVENTS]
    heard = judge.heard([Media(str(tmp_path / row["audio"])) for row in rows])
    asked = [EVENTS.index(row["prompt"]) for row in rows]
    assert heard.tolist() == [[event, event] for event in asked]
    assert sorted(asked) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_pairs_are_right_against_reversed_and_differ_by_seed(judge: OrderJudge, tmp_path: Path) -> None:
    rows = {seed: write_pairs(tmp_path / f"{seed}" / "pairs", 24, seed) for seed in (0, 1)}
    prompts = [row["prompt"] for row in rows[0]]
    chosen, rejected = ([Media(str(tmp_path / "0" / row[role])) for row in rows[0]] for role in ("chosen", "rejected"))
    assert judge.score(prompts, chosen).tolist() == judge.swapped(prompts, rejected).tolist() == [1.0] * 24
    first, second = (tmp_path / seed / rows[0][0]["chosen"] for seed in ("0", "1"))
    assert first.read_bytes() != second.read_bytes()
