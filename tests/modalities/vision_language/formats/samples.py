"""Rows as the published data sets have them, and what their formats make of them; and a modality that reads them."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import nn

from modalign.core.batch import Comparison, Example, Likelihood, PreferenceBatch
from modalign.core.media import Media
from modalign.core.modality import Modality
from modalign.core.objectives.base import Needs
from modalign.modalities.vision_language.prompts import images_of


def picture(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12), color).save(buffer, "PNG")
    return buffer.getvalue()


RED, BLUE = picture("red"), picture("blue")


def stored(content: bytes, path: str | None = None) -> dict[str, Any]:
    """An image as the `datasets` library stores it."""
    return {"bytes": content, "path": path}


def said(role: str, *parts: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "image"} if part is None else typed(part) for part in parts]}


def typed(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def turn(speaker: str, text: str) -> dict[str, Any]:
    return {"from": speaker, "value": text}


def completion(response: str, *ratings: str) -> dict[str, Any]:
    aspects = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")
    annotations = {
        aspect: {"Rating": rating, "Rationale": "..."} for aspect, rating in zip(aspects, ratings, strict=True)
    }
    return {"annotations": annotations, "model": "qwenvl", "response": response}


ANSWERS = [
    completion("a dog", "1", "5", "1"),
    completion("a cat on a mat", "5", "5", "5"),
    completion("a cat", "4", "5", "3"),
    completion("the cat", "3", "5", "4"),
]
QUESTION = "What is on the mat?"
TRL = {
    "prompt": [said("user", None, QUESTION)],
    "chosen": [said("assistant", "A cat.")],
    "rejected": [said("assistant", "A dog.")],
    "images": [stored(RED)],
}
SAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("vision_preference", TRL),
    (
        "vision_preference",
        {
            "images": [stored(RED)],
            "chosen": [said("user", None, QUESTION), said("assistant", "A cat.")],
            "rejected": [said("user", None, QUESTION), said("assistant", "A dog.")],
        },
    ),
    ("vision_preference", {"prompt": QUESTION, "image": "a.png", "chosen": "A cat.", "rejected": "A dog."}),
    # mDPO's 10k pairs
    (
        "vision_preference",
        {"img_path": "a.png", "prompt": f"<image>\n{QUESTION}", "chosen": "A cat.", "rejected": "A dog."},
    ),
    # UnifiedReward
    (
        "vision_preference",
        {
            "id": "7",
            "image": "a.png",
            "prompt": QUESTION,
            "chosen": "A cat.",
            "rejected": "A dog.",
            "chosen_score": 4.5,
            "rejected_score": 1,
        },
    ),
    # ms-swift's image preferences, in TRL's columns
    ("vision_preference", {"prompt": QUESTION, "images": ["a.png"], "rejected_images": ["b.png"], "chosen": "A cat."}),
    ("vision_preference", {"prompt": QUESTION, "images": [], "chosen": "A cat.", "rejected": "A dog."}),
    (
        "rlhf_v",
        {
            "ds_name": "RLHF-V",
            "image": stored(RED),
            "text": json.dumps({"question": QUESTION, "chosen": "A cat.", "rejected": "A dog."}),
            "origin_dataset": "LLaVA Instruct",
            "origin_split": json.dumps({"model": "Muffin"}),
            "idx": 0,
            "image_path": "llava/1.jpg",
        },
    ),
    (
        "rlaif_v",
        {
            "ds_name": "RLAIF-V",
            "image": stored(RED),
            "question": QUESTION,
            "chosen": "A cat.",
            "rejected": "A dog.",
            "origin_dataset": "COCO",
            "origin_split": json.dumps({"models": {}, "type": "detail"}),
            "idx": "0",
            "image_path": "coco/1.jpg",
        },
    ),
    # SPA-VL
    (
        "rlaif_v",
        {"image": stored(RED), "question": QUESTION, "chosen": "A cat.", "rejected": "A dog.", "class1": "Toxicity"},
    ),
    (
        "vlfeedback",
        {"id": "1", "prompt": QUESTION, "models": ["a", "b", "c", "d"], "completions": ANSWERS, "img_path": "a.png"},
    ),
    (
        "vlfeedback",
        {
            "prompt": QUESTION,
            "completions": {key: [answer[key] for answer in ANSWERS] for key in ANSWERS[0]},
            "image": stored(RED),
        },
    ),
    # BPO
    (
        "vlfeedback",
        {
            "image": "a.png",
            "prompt": QUESTION,
            "completions": [
                {"response": "A cat.", "score": 1, "type": "gt"},
                {"response": "A dog.", "score": 0, "type": "image_weakened"},
            ],
        },
    ),
    (
        "mm_rlhf",
        {
            "prompt": f"<image>\n{QUESTION}",
            "chosen": "A cat.",
            "rejected": "A dog.",
            "image": "a.png",
            "chosen_reason": "...",
            "rejected_reason": "...",
            "is_tie": False,
            "chosen_score": 2.0,
            "rejected_score": -1.0,
            "mixed_up_image": "b.png",
        },
    ),
    ("mm_rlhf", {"prompt": QUESTION, "chosen": "A cat.", "rejected": "A dog.", "video": "a.mp4"}),
    (
        "povid",
        {
            "id": "1",
            "image": "a.png",
            "conversations": [turn("human", f"<image>\n{QUESTION}"), turn("gpt", "A cat.")],
            "rejected_conversations": [turn("human", f"<image>\n{QUESTION}"), turn("gpt", "A dog.")],
        },
    ),
    (
        "ha_dpo",
        {"id": "2378", "chosen": ["A cat.", "A cat on a mat."], "rejected": ["A dog.", "A dog on a mat.", "A dog!"]},
    ),
    (
        "ha_dpo",
        {
            "image_id": 2378,
            "question": "Is there a cat?",
            "chosen": "Yes, there is.",
            "reject": "No.",
            "answer": "yes",
            "correct": False,
        },
    ),
    (
        "realign",
        {
            "image": "a.png",
            "retrieved_image": "b.png",
            "chosen": [
                {"role": "user", "content": f"<image>\n{QUESTION}"},
                {"role": "assistant", "content": "A cat."},
            ],
            "rejected": [
                {"role": "user", "content": f"<image>\n{QUESTION}"},
                {"role": "assistant", "content": "A dog."},
            ],
        },
    ),
    (
        "symmpo",
        {
            "image_1": stored(RED),
            "image_2": stored(BLUE),
            "question": QUESTION,
            "resp_1_w": "A cat.",
            "resp_1_l": "A dog.",
            "resp_2_w": "A bird.",
            "resp_2_l": "A fish.",
            "image_path_1": "1.jpg",
            "image_path_2": "2.jpg",
        },
    ),
    (
        "llava",
        {
            "id": "1",
            "image": "a.png",
            "conversations": [
                turn("human", f"{QUESTION}\n<image>"),
                turn("gpt", "A cat."),
                turn("human", "Where?"),
                turn("gpt", "On the mat."),
            ],
        },
    ),
    # LLaMA-Factory
    (
        "sharegpt",
        {
            "conversations": [turn("human", f"<image>{QUESTION}")],
            "chosen": turn("gpt", "A cat."),
            "rejected": turn("gpt", "A dog."),
            "images": ["a.png"],
        },
    ),
    (
        "sharegpt",
        {
            "messages": [{"role": "user", "content": f"<image>{QUESTION}"}],
            "chosen": {"role": "assistant", "content": "A cat."},
            "rejected": {"role": "assistant", "content": "A dog."},
            "images": ["a.png"],
        },
    ),
    ("vision_demonstration", {"messages": [*TRL["prompt"], *TRL["chosen"]], "images": [stored(RED)]}),
    ("vision_demonstration", {"prompt": QUESTION, "completion": "A cat.", "image": "a.png"}),
    ("vision_unpaired", {"prompt": QUESTION, "completion": "A cat.", "label": True, "images": ["a.png"]}),
]


def sample(name: str, number: int = 0) -> dict[str, Any]:
    """The n-th published row of a format."""
    return [row for format, row in SAMPLES if format == name][number]


class Looking(Modality):
    """Reads every image of a comparison; its cells are their content."""

    name = "vision_language"
    reads = frozenset({"text"})

    def encode(self, comparison: Comparison) -> Example:
        cells = []
        for candidate in comparison.candidates:
            images = images_of(comparison.prompt if candidate.context is None else candidate.context)
            cells.append(tuple(image.read() for image in images))
        for image in comparison.extra.get("other_images", ()):
            image.read()
        return Example(comparison, tuple(cells), (1,) * len(cells))

    def load(self, model: str | None = None) -> nn.Module:
        raise NotImplementedError

    def collate_cells(self, cells: Sequence[Any]) -> dict[str, Any]:
        return {"cells": list(cells)}

    def likelihood(self, model: nn.Module, batch: PreferenceBatch, needs: Needs) -> Likelihood:
        raise NotImplementedError


class Strings(Looking):
    """The modality of text."""

    name = "text"
    reads = frozenset()


def texts(comparison: Comparison) -> list[str]:
    """What the responses say."""
    return ["".join(message["content"] for message in candidate.response) for candidate in comparison.candidates]


def asked(prompt: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A prompt as a list of its texts and its images' paths or content."""
    found: list[Any] = []
    for message in prompt:
        parts = message["content"]
        for part in [typed(parts)] if isinstance(parts, str) else parts:
            found.append(part["text"] if part["type"] == "text" else shown(part["image"]))
    return found


def shown(image: Media) -> Any:
    return image.path if image.data is None else image.data
