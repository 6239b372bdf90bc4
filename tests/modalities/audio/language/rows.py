"""Comparisons and files of rows about sounds, and what a model says of a response on the processor's own output."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison, PreferenceBatch
from modalign.core.media import Media
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.language.modality import AudioLanguage
from modalign.modalities.vision_language.prompts import AUDIO, answer, question
from tests import sounds
from tests.tiny_audio.language import RATE

LONG = " It begins left of the second sound, and the third one is in the picture."


def clip(number: int) -> Clip:
    """Sounds of different content and length, none longer than a second."""
    return sounds.chirp(200.0 + 100 * number, 3000.0 - 250 * number, 0.3 + 0.07 * (number % 8), RATE)


def comparison(
    heard: Sequence[Clip | Media],
    text: str = "What is it?",
    chosen: str = "A rising tone",
    rejected: str = "Two bursts of noise, one after another.",
    **extra: Any,
) -> Comparison:
    """A pair of answers to a question about sounds."""
    candidates = (Candidate(answer(chosen), CHOSEN), Candidate(answer(rejected), REJECTED))
    return Comparison(question(text, heard, AUDIO), candidates, extra=extra)


def batch_of(modality: AudioLanguage, comparisons: Sequence[Comparison]) -> PreferenceBatch:
    return modality.collate([modality.encode(each) for each in comparisons], range(len(comparisons)))


def waveforms(prompt: Any) -> list[Any]:
    """The samples of a prompt's clips, which have the model's rate and one channel."""
    parts = [part for message in prompt if not isinstance(message["content"], str) for part in message["content"]]
    return [part["audio"].samples[0].numpy() for part in parts if part["type"] == "audio"]


def direct_logps(modality: AudioLanguage, model: Any, prompt: Any, response: str) -> Tensor:
    """The log-probabilities of a response's tokens, by transformers alone: one forward over the whole chat."""
    processor = modality.processor
    asked = str(processor.apply_chat_template(prompt, add_generation_prompt=True))
    chat = [*prompt, {"role": "assistant", "content": response}]
    whole = str(processor.apply_chat_template(chat))
    heard = waveforms(prompt)
    sound = {"audio": heard, "sampling_rate": RATE} if heard else {}
    special = "<bos>" not in whole
    inputs = processor(text=[whole], return_tensors="pt", add_special_tokens=special, **sound)
    before = processor(text=[asked], return_tensors="pt", add_special_tokens=special, **sound)["input_ids"].shape[1]
    logits = model(**inputs).logits[0, before - 1 : -1].log_softmax(-1)
    return logits.gather(1, inputs["input_ids"][0, before:, None])[:, 0]


def pair_rows(folder: Path, count: int, text_only: int = 0) -> list[dict[str, Any]]:
    """Pairs about one or two sounds, with all that an objective may ask for; files are in `folder`/sounds."""
    rows = []
    for number in range(count):
        names = []
        for place in range(4):
            names.append(f"sounds/{number + 3 * place}.wav")
            sounds.save(clip(number + 3 * place), folder / names[-1], "FLOAT")
        heard = 1 + number % 2
        row: dict[str, Any] = {
            "prompt": f"What is sound {number}?",
            "audios": names[:heard],
            "chosen": "A rising tone" + LONG * (number % 3 == 1),
            "rejected": "Two bursts of noise",
            "other_audios": names[2 : 2 + heard],
            "other_response": "A falling tone",
        }
        if text_only and number % text_only == 0:
            row |= {"audios": [], "other_audios": None}
        rows.append(row)
    return rows


def write_pairs(folder: Path, count: int, text_only: int = 0) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in pair_rows(folder, count, text_only)))
    return path


def moved(policy: torch.nn.Module) -> torch.nn.Module:
    """The policy after a step in a random direction."""
    draw = torch.Generator().manual_seed(7)
    for parameter in policy.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    return policy
