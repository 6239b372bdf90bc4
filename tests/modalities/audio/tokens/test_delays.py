"""Delay patterns: transformers' own, by hand and at random; no sound depends on what it is batched with."""

from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modalign.modalities.audio.tokens.delays import DelayPattern

MUSIC = DelayPattern((0, 1, 2), before=90, after=90)
SPEECH = DelayPattern((0, 2, 3), before=91, after=92, end=93)
STEREO = DelayPattern((0, 0, 1, 1), before=90, after=90)
PATTERNS = {"music": MUSIC, "stereo": STEREO, "speech": SPEECH}

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def random_codes(pattern: DelayPattern, frames: list[int], seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(80, (len(frames), max(frames), pattern.codebooks), generator=source)


def delayed(pattern: DelayPattern, codes: Tensor, frames: list[int], whole: list[bool]) -> tuple[Tensor, Tensor]:
    return pattern.delayed(codes, torch.tensor(frames), torch.tensor(whole))


def test_three_codebooks_that_lag_by_a_step_each() -> None:
    codes = torch.tensor([[[11, 21, 31], [12, 22, 32], [13, 23, 33]], [[41, 51, 61], [0, 0, 0], [0, 0, 0]]])
    tokens, scored = delayed(MUSIC, codes, [3, 1], [True, True])
    assert tokens[0].T.tolist() == [
        [90, 11, 12, 13, 90, 90],
        [90, 90, 21, 22, 23, 90],
        [90, 90, 90, 31, 32, 33],
    ]
    assert tokens[1].T.tolist() == [
        [90, 41, 90, 90, 90, 90],
        [90, 90, 51, 90, 90, 90],
        [90, 90, 90, 61, 90, 90],
    ]
    assert torch.equal(scored, tokens != 90)


def test_a_sound_that_ends_itself() -> None:
    codes = torch.tensor([[[11, 21, 31], [12, 22, 32]]])
    tokens, scored = delayed(SPEECH, codes, [2], [True])
    assert tokens[0].T.tolist() == [
        [91, 11, 12, 93, 92, 92, 92],
        [91, 91, 91, 21, 22, 93, 92],
        [91, 91, 91, 91, 31, 32, 93],
    ]
    assert torch.equal(scored, (tokens < 80) | (tokens == 93))


def test_a_sound_that_was_cut_is_the_beginning_of_a_longer_one() -> None:
    codes = random_codes(SPEECH, [9])
    all_of_it, own = delayed(SPEECH, codes, [9], [True])
    beginning, scored = delayed(SPEECH, codes, [5], [False])
    assert torch.equal(beginning, all_of_it[:, :6])
    assert torch.equal(scored, own[:, :6])
    assert SPEECH.size(5, whole=False) == 5 + 3 + 2


@given(frames=st.integers(3, 12), stereo=st.booleans())
def test_musicgen_builds_the_same_pattern(frames: int, stereo: bool) -> None:
    from transformers import MusicgenForCausalLM

    pattern = STEREO if stereo else MUSIC
    codes = random_codes(pattern, [frames])
    tokens, scored = delayed(pattern, codes, [frames], [True])
    builder: Any = SimpleNamespace(
        num_codebooks=pattern.codebooks, config=SimpleNamespace(audio_channels=2 if stereo else 1)
    )
    start = torch.full((pattern.codebooks, 1), 90)
    _, free = MusicgenForCausalLM.build_delay_pattern_mask(builder, start, 90, max_length=tokens.shape[1])
    assert torch.equal(free.view(pattern.codebooks, -1).T == -1, scored[0])
    assert tokens.shape[1] == frames + pattern.tail
    # A prompt that is the whole sound is laid out, but for its first step.
    prompt = torch.cat([start, codes[0].T], 1)
    _, laid_out = MusicgenForCausalLM.build_delay_pattern_mask(builder, prompt, 90, max_length=tokens.shape[1])
    assert torch.equal(laid_out.view(pattern.codebooks, -1).T, tokens[0])


@given(frames=st.integers(1, 12))
def test_dias_processor_builds_the_same_pattern(frames: int) -> None:
    from transformers import DiaProcessor

    codes = random_codes(SPEECH, [frames])
    tokens, _ = delayed(SPEECH, codes, [frames], [True])
    sequence = torch.full((1, frames + 2 + 3, 3), 92)
    sequence[:, 0], sequence[:, 1 : frames + 1], sequence[:, frames + 1] = 91, codes, 93
    places = DiaProcessor.build_indices(1, sequence.shape[1], 3, list(SPEECH.delays))
    assert torch.equal(DiaProcessor.apply_audio_delay(sequence, 92, 91, places), tokens)


@given(name=st.sampled_from(sorted(PATTERNS)), frames=lengths, data=st.data())
def test_no_sound_depends_on_the_others_or_on_what_lies_beyond_it(name: str, frames: list[int], data: Any) -> None:
    pattern = PATTERNS[name]
    whole = data.draw(st.lists(st.booleans(), min_size=len(frames), max_size=len(frames)))
    codes = random_codes(pattern, frames)
    tokens, scored = delayed(pattern, codes, frames, whole)
    for row, (length, is_whole) in enumerate(zip(frames, whole, strict=True)):
        alone, own = delayed(pattern, codes[row : row + 1, :length], [length], [is_whole])
        assert torch.equal(tokens[row, : alone.shape[1]], alone[0])
        assert torch.equal(scored[row, : own.shape[1]], own[0])
        assert not scored[row, own.shape[1] :].any()
        assert int(scored[row].sum()) == pattern.size(length, is_whole)
        if is_whole:
            assert torch.equal(pattern.frames_of(tokens[row], length), codes[row, :length])
