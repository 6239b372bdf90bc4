"""Answers to prompts with images: transformers' own, whatever else is in the batch, and never an image token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.errors import RowError, UserError
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.prompts import question
from modalign.modalities.vision_language.sampling import ProcessedBatches, never_said

from .scenes import media, picture, written

MakeFolder = Callable[[str], Path]
Loaded = tuple[VisionLanguage, Any]
ASKED = "What is in the image, and where are all of the shapes?"


@pytest.fixture(scope="session")
def loaded(vlm_folder: MakeFolder) -> Callable[[str], Loaded]:
    """A modality and its policy, loaded once for each family; to be left as they are."""
    kept: dict[str, Loaded] = {}

    def load(family: str) -> Loaded:
        if family not in kept:
            modality = VisionLanguage(str(vlm_folder(family)), max_length=512)
            kept[family] = (modality, modality.load())
        return kept[family]

    return load


def prompts_for(family: str) -> list[Any]:
    """Prompts of one image, of two, and of none where the processor takes such."""
    prompts = [
        question("What is in the image?", [media(0)]),
        question(ASKED, [media(1, (20, 40))]),
        question("Two?", [media(2), media(3, (16, 64))]),
    ]
    return prompts if family == "paligemma" else [*prompts, question("Hello, who are you?"), question("Hello")]


def of_pipeline(modality: VisionLanguage, model: Any, prompt: Any, new_tokens: int) -> str:
    """What transformers' pipeline answers, never with an image token."""
    from transformers import pipeline

    answering = pipeline("image-text-to-text", model=model, processor=modality.processor)
    parts = [
        {"type": "image", "image": picture_of(part)} if part["type"] == "image" else part
        for part in prompt[0]["content"]
    ]
    options = {"do_sample": False, "suppress_tokens": never_said(modality._tokens, model)}
    messages = [{"role": "user", "content": parts}]
    (said,) = answering(
        text=messages,
        max_new_tokens=new_tokens,
        return_tensors=True,
        generate_kwargs=options,
        continue_final_message=False,
    )
    whole = said["generated_token_ids"]
    prompt_ids = modality.encoder.encode_prompt(prompt, None).ids
    assert whole[: len(prompt_ids)].tolist() == prompt_ids
    return modality.tokenizer.decode(
        whole[len(prompt_ids) :], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


def picture_of(part: Any) -> Any:
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(part["image"].read()))


def test_greedy_answers_are_the_pipelines(loaded: Callable[[str], Loaded], family: str) -> None:
    modality, model = loaded(family)
    prompts = prompts_for(family)
    together = modality.sample(model, prompts, temperature=0, max_new_tokens=6)
    assert [response[0]["role"] for (response,) in together] == ["assistant"] * len(prompts)
    for prompt, (response,) in zip(prompts[:3], together, strict=False):
        assert response[0]["content"] == of_pipeline(modality, model, prompt, 6)
    assert len({response[0]["content"] for (response,) in together}) > 2


def test_answers_do_not_depend_on_the_batch(
    loaded: Callable[[str], Loaded], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    modality, model = loaded(family)
    prompts = prompts_for(family)
    batches: list[int] = []
    original = ProcessedBatches._together

    def watched(self: ProcessedBatches, chosen: Any) -> Any:
        made = original(self, chosen)
        batches.append(len(chosen) if made is not None else 0)
        return made

    monkeypatch.setattr(ProcessedBatches, "_together", watched)
    options: dict[str, Any] = {"n": 2, "seed": 3, "max_new_tokens": 4}
    together = modality.sample(model, prompts, **options)
    assert batches
    assert all(batches)
    alone = [modality.sample(model, [prompt], batch_size=1, **options)[0] for prompt in prompts]
    assert alone == together
    assert modality.sample(model, prompts[::-1], batch_size=3, **options) == together[::-1]
    assert all(first != second for first, second in together)
    assert modality.sample(model, prompts[:1], **{**options, "seed": 4})[0] != together[0]


def test_a_batch_that_the_processor_makes_otherwise_is_answered_one_by_one(
    loaded: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    modality, model = loaded("llava")
    prompts = prompts_for("llava")
    together = modality.sample(model, prompts, temperature=0, max_new_tokens=4)
    processor = type(modality.processor)
    call = processor.__call__

    def refuses(self: Any, *args: Any, **options: Any) -> Any:
        if len(options["text"]) > 1:
            raise ValueError("one at a time")
        return call(self, *args, **options)

    monkeypatch.setattr(processor, "__call__", refuses)
    assert modality.sample(model, prompts, temperature=0, max_new_tokens=4) == together

    def turns_around(self: Any, *args: Any, **options: Any) -> Any:
        return call(self, *args, **{**options, "text": options["text"][::-1]})

    monkeypatch.setattr(processor, "__call__", turns_around)
    assert modality.sample(model, prompts, temperature=0, max_new_tokens=4) == together


def test_another_image_is_another_draw(loaded: Callable[[str], Loaded], tmp_path: Path) -> None:
    modality, _ = loaded("qwen2_5_vl")

    def keys(*images: Any) -> int:
        return len({modality._prompted(question("What?", [image]), None).key for image in images})

    assert keys(media(0), media(1)) == 2
    assert keys(picture(0), picture(1)) == 2
    # Wherever its file lies.
    assert keys(media(0), written(tmp_path, 0)) == 1


def test_image_tokens_are_never_said(vlm_folder: MakeFolder, family: str) -> None:
    modality = VisionLanguage(str(vlm_folder(family)), max_length=512)
    model: Any = modality.load()
    never = never_said(modality._tokens, model)
    assert never
    head = model.get_output_embeddings()
    known = [token for token in never if token < head.weight.shape[0]]
    # Mllama's image token has no logit.
    assert bool(known) == (family != "mllama")
    prompt = question("What?", [media(0)])
    before = modality.sample(model, [prompt], temperature=0, max_new_tokens=3)
    with torch.no_grad():
        head.bias = torch.nn.Parameter(torch.zeros(head.weight.shape[0]))
        head.bias[known] = 1e6
    assert modality.sample(model, [prompt], temperature=0, max_new_tokens=3) == before
    assert modality.sample(model, [prompt], max_new_tokens=3)[0][0][0]["content"]


def test_strings_are_answered_by_strings(loaded: Callable[[str], Loaded]) -> None:
    modality, model = loaded("smolvlm")
    ((text,),) = modality.sample(model, ["Hello, who are you?"], temperature=0, max_new_tokens=4)
    ((chat,),) = modality.sample(model, [question("Hello, who are you?")], temperature=0, max_new_tokens=4)
    assert [{"role": "assistant", "content": text}] == chat


def test_what_cannot_be_asked_is_told(loaded: Callable[[str], Loaded]) -> None:
    modality, model = loaded("llava")
    with pytest.raises(UserError, match="no option 'temperatur'"):
        modality.sample(model, prompts_for("llava"), temperatur=0)
    with pytest.raises(RowError, match="too long"):
        modality.sample(model, [question("so " * 600, [media(0)])])
