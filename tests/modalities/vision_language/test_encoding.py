"""Comparisons become the processor's own tokens and tensors, each context once; what cannot be used is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, RowError
from modalign.core.media import Media
from modalign.modalities.vision_language.images import scaled
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.prompts import image_part, question, text_part

from .scenes import media, pair, picture, written

MakeFolder = Callable[[str], Path]
Make = Callable[..., VisionLanguage]


@pytest.fixture(scope="session")
def kept(vlm_folder: MakeFolder) -> Make:
    """A modality over a tiny model, made once for each set of options; 512 tokens at most."""
    made: dict[str, VisionLanguage] = {}

    def modality(family: str = "llava", **options: Any) -> VisionLanguage:
        key = f"{family}{sorted(options.items())}"
        if key not in made:
            made[key] = VisionLanguage(str(vlm_folder(family)), **{"max_length": 512, **options})
        return made[key]

    return modality


def directly(modality: VisionLanguage, images: Sequence[Any], text: str) -> dict[str, Any]:
    """What transformers makes of a question: the template and the processor in one call."""
    parts = [{"type": "image", "image": image} for image in images]
    messages = [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
    return dict(
        modality.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_prompts_are_the_processors_own_output(kept: Make, family: str, count: int) -> None:
    modality = kept(family)
    if family == "paligemma" and count == 0:
        pytest.skip("its processor takes no prompt without images")
    images = [picture(seed) for seed in range(count)]
    cells = modality.encode(pair(images)).cells
    expected = directly(modality, images, "What is in the image?")
    assert cells[0].prompt.tolist() == expected["input_ids"][0].tolist()
    seen = {**{name: value[None] for name, value in cells[0].token_wise.items()}, **cells[0].media}
    assert set(seen) == set(expected) - {"input_ids", "attention_mask", "labels"}
    assert all(torch.equal(value, expected[name]) for name, value in seen.items())
    assert bool(cells[0].media) == bool(cells[0].media_key) == (count > 0)
    assert all(len(value) == len(cells[0].prompt) for value in cells[0].token_wise.values())


def test_completions_decode_to_the_response_and_its_end(kept: Make, family: str) -> None:
    modality = kept(family)
    example = modality.encode(pair([picture()]))
    text = [modality.tokenizer.decode(cell.completion).lstrip() for cell in example.cells]
    assert text[0].startswith("The picture shows 2 red circles.<end>")
    assert text[1].startswith("a blue square<end>")
    assert example.sizes == tuple(len(cell.completion) for cell in example.cells)
    assert not example.truncated


def test_begin_of_sequence_stands_once(kept: Make, family: str) -> None:
    modality = kept(family)
    prompt = modality.encode(pair([picture()])).cells[0].prompt.tolist()
    assert prompt.count(modality.tokenizer.bos_token_id) == (0 if family.startswith(("qwen", "internvl")) else 1) or (
        family == "llava_onevision" and modality.tokenizer.bos_token_id not in prompt
    )


def test_a_tokenizer_that_ends_texts_does_not_end_prompts(vlm_folder: MakeFolder) -> None:
    from tokenizers.processors import TemplateProcessing

    modality = VisionLanguage(str(vlm_folder("llava")))
    plain = modality.encode(pair([picture()])).cells[0].prompt.tolist()
    ending = VisionLanguage(str(vlm_folder("llava")))
    tokenizer = ending.tokenizer
    specials = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<bos>", "<end>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A <end>", special_tokens=specials)
    assert ending.encode(pair([picture()])).cells[0].prompt.tolist() == plain


def test_a_response_follows_its_prompt_as_the_whole_chat_has_it(vlm_folder: MakeFolder) -> None:
    """Llama's tokenizer puts a blank before each text: a response that is tokenised apart would begin with one more."""
    from tokenizers.normalizers import Prepend

    modality = VisionLanguage(str(vlm_folder("llava")), max_length=512)
    plain = modality.encode(pair([picture()])).cells[0]
    modality.tokenizer.backend_tokenizer.normalizer = Prepend("_")
    changed = modality.encode(pair([picture()])).cells[0]
    assert modality.tokenizer.decode(changed.prompt).startswith("<bos>_USER:")
    first = plain.completion.tolist().index(modality.tokenizer.eos_token_id)
    assert changed.completion[: first + 1].tolist() == plain.completion[: first + 1].tolist()


def test_a_response_follows_what_the_processor_puts_behind_the_prompt(kept: Make) -> None:
    modality = kept("paligemma")
    cell = modality.encode(pair([picture()], chosen="red")).cells[0]
    assert modality.tokenizer.decode(torch.cat([cell.prompt, cell.completion])).endswith("in the image?\nred<end>")


def test_a_context_that_candidates_share_is_processed_once(kept: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    modality = kept()
    calls = []
    processor = type(modality.processor)
    original = processor.__call__
    monkeypatch.setattr(
        processor, "__call__", lambda self, *args, **more: calls.append(1) or original(self, *args, **more)
    )
    other = [question("What is in the image?", [media(1)]) for _ in range(2)]
    comparison = pair([media(0)])
    extra = tuple(
        Candidate("x", f"{role}@other_image", context=context)
        for role, context in zip((CHOSEN, REJECTED), other, strict=True)
    )
    example = modality.encode(replace(comparison, candidates=comparison.candidates + extra))
    assert len(calls) == 2
    keys = [cell.media_key for cell in example.cells]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_the_key_of_images_is_that_of_their_content(kept: Make, tmp_path: Path) -> None:
    cells = [kept().encode(pair([image])).cells[0] for image in (media(), written(tmp_path), media(1))]
    assert [cell.media_key == cells[0].media_key for cell in cells] == [True, True, False]
    both = kept().encode(pair([media(0), media(1)])).cells[0], kept().encode(pair([media(1), media(0)])).cells[0]
    assert both[0].media_key != both[1].media_key
    assert content_hash(cells[0]) == content_hash(cells[1]) != content_hash(cells[2])
    said = [content_hash(kept().encode(pair([media()], chosen=text)).cells[0]) for text in ("yes", "no")]
    assert said[0] != said[1]


def test_an_image_that_opens_itself(kept: Make) -> None:
    class Altered:
        def __init__(self, seed: int) -> None:
            self.seed = seed

        def open(self) -> Any:
            return picture(self.seed)

        def content_key(self) -> int:
            return self.seed

    modality = kept()
    cells = [modality.encode(pair([image])).cells[0] for image in (Altered(5), Altered(5), Altered(6), picture(5))]
    assert [cell.media_key == cells[0].media_key for cell in cells[:3]] == [True, True, False]
    assert torch.equal(cells[0].media["pixel_values"], cells[3].media["pixel_values"])


def test_images_stand_where_the_prompt_has_them(kept: Make) -> None:
    prompt = [{"role": "user", "content": [text_part("Is "), image_part(media(0)), text_part("?")]}]
    example = kept().encode(replace(pair(), prompt=prompt))
    assert "Is <image>" in kept().tokenizer.decode(example.cells[0].prompt)


def test_strings_are_chats(kept: Make) -> None:
    strings = kept().encode(replace(pair(), prompt="What is in the image?")).cells
    chats = kept().encode(pair(chosen=[{"role": "assistant", "content": "The picture shows 2 red circles."}])).cells
    assert all(torch.equal(a.prompt, b.prompt) for a, b in zip(strings, chats, strict=True))
    assert all(torch.equal(a.completion, b.completion) for a, b in zip(strings, chats, strict=True))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.tuples(st.integers(12, 90), st.integers(12, 90)), min_size=0, max_size=3),
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="<>"), max_size=12), min_size=2, max_size=2),
    family=st.sampled_from(["llava", "qwen2_5_vl", "idefics3", "gemma3", "llava_next", "mllama"]),
)
def test_prompt_and_completion_make_up_the_whole_chat(
    kept: Make, sizes: list[tuple[int, int]], texts: list[str], family: str
) -> None:
    modality = kept(family, max_length=None)
    asked, answered = texts[0], f"a {texts[1]} b"
    images = [picture(number, size) for number, size in enumerate(sizes)]
    cell = modality.encode(pair(images, chosen=answered, text=asked)).cells[0]
    whole = modality.tokenizer.decode(torch.cat([cell.prompt, cell.completion]))
    parts = [{"type": "image"} for _ in images]
    messages = [
        {"role": "user", "content": [*parts, {"type": "text", "text": asked}]},
        {"role": "assistant", "content": [{"type": "text", "text": answered}]},
    ]
    text = modality.processor.apply_chat_template(messages)
    expected = modality.processor(text=[text], images=images or None, return_tensors="pt", add_special_tokens=False)
    assert whole.removeprefix("<bos>") == modality.tokenizer.decode(expected["input_ids"][0]).removeprefix("<bos>")


# What is refused


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "internvl"])
def test_text_that_stands_for_an_image_is_refused(kept: Make, family: str) -> None:
    modality = kept(family)
    for token in modality.encoder.tokens.placeholders:
        for comparison, column in (
            (pair([picture()], text=f"What does {token} mean?".replace("<image>", "<image> ")), "prompt"),
            (pair([picture()], chosen=f"It shows {token}."), CHOSEN),
            (pair([picture()], rejected=f"It shows {token}."), REJECTED),
        ):
            if column == "prompt":
                prompt = [{"role": "user", "content": [image_part(picture()), text_part(f"What does {token} mean?")]}]
                comparison = replace(comparison, prompt=prompt)
            with pytest.raises(RowError, match="stands for an image") as refused:
                modality.encode(comparison)
            assert refused.value.column == column
            assert token in str(refused.value)


def test_a_response_with_an_image_is_refused(kept: Make) -> None:
    reply = [{"role": "assistant", "content": [image_part(picture()), text_part("That.")]}]
    with pytest.raises(RowError, match="the response holds an image") as refused:
        kept().encode(pair([picture()], rejected=reply))
    assert refused.value.column == REJECTED


@pytest.mark.parametrize("response", ["", [], 3, None, [{"role": "user", "content": "hm"}]])
def test_responses_that_are_none(kept: Make, response: Any) -> None:
    with pytest.raises(RowError):
        kept().encode(pair([picture()], chosen=response))


def test_files_that_are_no_images(kept: Make, tmp_path: Path) -> None:
    for image, told in ((Media("nowhere.png"), "cannot be read"), (Media(data=b"text"), "not an image"), (7, "int")):
        with pytest.raises(RowError, match=told):
            kept().encode(pair([image]))


@pytest.mark.parametrize("size", [(5, 5), (200, 8)])
def test_an_icon_and_a_banner_are_images(kept: Make, size: tuple[int, int]) -> None:
    assert kept().encode(pair([Image.new("RGB", size, "red")])).cells[0].media


def test_a_processor_that_wants_images(kept: Make) -> None:
    with pytest.raises(RowError, match=r"(?s)the processor refuses the prompt.*no image"):
        kept("paligemma").encode(pair())


def test_a_template_that_drops_images_is_refused(vlm_folder: MakeFolder) -> None:
    template = (
        "{% for m in messages %}{% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}:{% endif %}"
    )
    modality = VisionLanguage(str(vlm_folder("llava")), chat_template=template, max_length=512)
    with pytest.raises(RowError, match="does not place the images: it writes '<image>' 0 times for 1"):
        modality.encode(pair([picture()]))


def test_a_processor_that_returns_no_tensor_is_refused(vlm_folder: MakeFolder) -> None:
    modality = VisionLanguage(str(vlm_folder("llava")), max_length=512)
    processor = modality.processor
    original = type(processor).__call__
    changed = type("Odd", (type(processor),), {"__call__": lambda self, **more: {**original(self, **more), "odd": [1]}})
    processor.__class__ = changed
    with pytest.raises(ConfigError, match="returns 'odd' as list"):
        modality.encode(pair([picture()]))


# Lengths


def test_prompts_are_never_cut(kept: Make) -> None:
    length = len(kept().encode(pair([picture()])).cells[0].prompt)
    with pytest.raises(
        RowError, match=f"it has {length} tokens, 16 of them for 1 images, and {length - 1} fit"
    ) as told:
        kept(max_prompt_length=length - 1).encode(pair([picture()]))
    assert "on_bad_row: skip" in told.value.cure
    assert "too_long: resize" in told.value.cure
    assert told.value.reason == "the prompt is too long"
    kept(max_prompt_length=length).encode(pair([picture()]))
    with pytest.raises(RowError, match=r"the prompt is too long: it has \d+ tokens, and 9 fit"):
        kept(max_prompt_length=9).encode(pair())


def test_the_longest_response_decides_the_room(kept: Make) -> None:
    whole = kept().encode(pair([picture()]))
    length = len(whole.cells[0].prompt) + max(whole.sizes)
    assert kept(max_length=length).encode(pair([picture()])).sizes == whole.sizes
    with pytest.raises(RowError, match="the prompt is too long"):
        kept(max_length=length - 1).encode(pair([picture()]))
    with pytest.raises(RowError, match="leaves no room"):
        kept(max_length=max(whole.sizes)).encode(pair([picture()]))


def test_responses_are_cut_and_counted(kept: Make) -> None:
    example = kept(max_completion_length=3).encode(pair([picture()]))
    assert example.sizes == (3, 3)
    assert example.truncated
    with pytest.raises(RowError, match="the same once they are cut"):
        kept(max_completion_length=2).encode(pair([picture()], chosen="a blue square", rejected="a blue circle"))


def test_equal_responses_to_different_images_may_be_cut(kept: Make) -> None:
    comparison = pair([picture(0)], chosen="a blue square")
    rejected = Candidate("a blue circle", REJECTED, context=question("What is in the image?", [picture(1)]))
    example = kept(max_completion_length=2).encode(replace(comparison, candidates=(comparison.candidates[0], rejected)))
    assert torch.equal(example.cells[0].completion, example.cells[1].completion)
    assert example.cells[0].media_key != example.cells[1].media_key


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.tuples(st.integers(20, 120), st.integers(20, 120)), min_size=1, max_size=3),
    spared=st.floats(0.3, 1.2),
    family=st.sampled_from(["qwen2_5_vl", "idefics3"]),
)
def test_images_are_scaled_down_until_the_prompt_fits(
    kept: Make, sizes: list[tuple[int, int]], spared: float, family: str
) -> None:
    images = [picture(number, size) for number, size in enumerate(sizes)]
    whole = kept(family, max_length=None).encode(pair(images))
    factor = 8 / min(map(min, sizes))
    smallest = [scaled(image, factor) for image in images]
    least = kept(family, max_length=None).encode(pair(smallest))
    room = int(len(least.cells[0].prompt) + spared * (len(whole.cells[0].prompt) - len(least.cells[0].prompt)))
    resizing = VisionLanguage(kept(family).model, max_length=None, max_prompt_length=max(room, 1), too_long="resize")
    resizing.__dict__["processor"] = kept(family, max_length=None).processor
    example = resizing.encode(pair(images))
    assert len(example.cells[0].prompt) <= room
    assert example.truncated == (len(whole.cells[0].prompt) > room)
    assert example.cells[0].media_key == example.cells[1].media_key
    assert example.sizes == whole.sizes


def test_images_of_a_fixed_number_of_tokens_cannot_be_resized(kept: Make) -> None:
    with pytest.raises(RowError, match="16 of them for 1 images") as refused:
        kept(max_prompt_length=20, too_long="resize").encode(pair([picture()]))
    assert "smallest images do not help" in refused.value.cure


def test_max_image_side(kept: Make) -> None:
    capped = kept("qwen2_5_vl", max_image_side=16).encode(pair([picture(0, (64, 32))])).cells[0]
    small = kept("qwen2_5_vl").encode(pair([picture(0, (64, 32)).resize((16, 8), 3)])).cells[0]
    whole = kept("qwen2_5_vl").encode(pair([picture(0, (64, 32))])).cells[0]
    wide = kept("qwen2_5_vl", max_image_side=64).encode(pair([picture(0, (64, 32))])).cells[0]
    assert torch.equal(capped.media["pixel_values"], small.media["pixel_values"])
    assert torch.equal(wide.media["pixel_values"], whole.media["pixel_values"])
    assert capped.media_key != whole.media_key


def test_a_prompt_to_generate_from(kept: Make) -> None:
    prompt = question("What is in the image?", [picture()])
    encoded = kept().encoder.encode_prompt(prompt, None)
    cell = kept().encode(pair([picture()])).cells[0]
    assert encoded.ids == cell.prompt.tolist()
    assert encoded.media_key == cell.media_key
    with pytest.raises(RowError, match="too long"):
        kept().encoder.encode_prompt(prompt, 5)


def test_encoding_is_a_pure_function(kept: Make) -> None:
    first, second = (kept("qwen2_5_vl").encode(pair([media()])).cells[0] for _ in range(2))
    assert first.media_key == second.media_key
    assert all(torch.equal(first.media[name], second.media[name]) for name in first.media)


def test_comparisons_of_any_number_of_candidates(kept: Make) -> None:
    ranked = Comparison(question("What?", [media()]), tuple(Candidate(f"{n} circles", score=n) for n in range(4)))
    assert len(kept().encode(ranked).cells) == 4
