"""The modality as the loop sees it: cells under other images, keys of caches, previews, data of text formats."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.batch import CHOSEN, OTHER_CHOSEN, OTHER_IMAGE, REJECTED, Candidate, Comparison, under
from modalign.core.content import content_hash
from modalign.core.errors import ConfigError, RowError, UserError
from modalign.core.extra_cells import add_cells, check_extra_roles
from modalign.core.media import Media
from modalign.core.objectives.base import Needs
from modalign.modalities.lora import Lora
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.other_media import roles
from modalign.modalities.vision_language.prompts import answer, images_of, question
from modalign.modalities.vision_language.variants.base import ImageVariant

from .scenes import media, pair, picture, written

MakeFolder = Callable[[str], Path]
Make = Callable[..., VisionLanguage]


class FromRow(ImageVariant):
    """The images of the other row."""

    name = "from_row"
    needs_other_row = True

    def images(self, comparison: Comparison, images: Sequence[Any], other: Comparison | None) -> Sequence[Any]:
        assert other is not None
        return images_of(other.prompt)


@pytest.fixture
def make(vlm_folder: MakeFolder) -> Make:
    """Makes a modality over a tiny model; 512 tokens at most."""

    def modality(family: str = "llava", **options: Any) -> VisionLanguage:
        return VisionLanguage(str(vlm_folder(family)), **{"max_length": 512, **options})

    return modality


# Cells under other images


def test_cells_pair_each_response_with_each_image(make: Make) -> None:
    own, other = media(0), media(1)
    comparison = pair([own], extra={"other_images": (other,), "other_response": "Three."})
    wanted = (under(CHOSEN, "other_image"), under(REJECTED, "other_image"), OTHER_CHOSEN)
    modality = make()
    whole = add_cells(comparison, (*wanted, under(OTHER_CHOSEN, "other_image")), modality)
    seen = {
        candidate.role: (candidate.response, images_of(candidate.context or whole.prompt))
        for candidate in whole.candidates
    }
    chosen, rejected = (candidate.response for candidate in comparison.candidates)
    assert seen == {
        CHOSEN: (chosen, [own]),
        REJECTED: (rejected, [own]),
        under(CHOSEN, "other_image"): (chosen, [other]),
        under(REJECTED, "other_image"): (rejected, [other]),
        OTHER_CHOSEN: ("Three.", [own]),
        under(OTHER_CHOSEN, "other_image"): ("Three.", [other]),
    }
    keys = [cell.media_key for cell in modality.encode(whole).cells]
    assert [key == keys[0] for key in keys] == [True, True, False, False, True, False]


def test_the_other_image_replaces_that_of_a_candidates_own_context(make: Make) -> None:
    comparison = pair([media(0)], extra={"other_images": (media(2),)})
    rejected = Candidate("x", REJECTED, context=question("Now?", [media(1)]))
    comparison = replace(comparison, candidates=(comparison.candidates[0], rejected))
    cell = make().extra_candidate(comparison, under(REJECTED, "other_image"), None)
    assert cell.context == question("Now?", [media(2)])


def test_cells_that_cannot_be_made_are_told(make: Make) -> None:
    other_image = under(CHOSEN, "other_image")
    with pytest.raises(RowError, match="the prompt has no image"):
        make().extra_candidate(pair(extra={"other_images": (media(1),)}), other_image, None)
    with pytest.raises(RowError):
        make().extra_candidate(pair([media()]), other_image, None)
    with pytest.raises(RowError, match="column 'other_response': no value"):
        make().extra_candidate(pair([media()], extra={"other_images": (media(1),)}), OTHER_CHOSEN, None)
    alone = replace(pair([media()]), candidates=(Candidate("x", CHOSEN),), extra={"other_images": (media(1),)})
    with pytest.raises(RowError, match="has no rejected response"):
        make().extra_candidate(alone, under(REJECTED, "other_image"), None)
    check_extra_roles(sorted(roles(OTHER_IMAGE)), make())
    with pytest.raises(ConfigError, match="chosen@other_sound"):
        check_extra_roles(["chosen@other_sound"], make())


def test_a_variant_may_take_another_rows_image(make: Make) -> None:
    modality = make(other_image=FromRow())
    first, second = pair([media(0)]), pair([media(1)])
    assert modality.needs_other_row([CHOSEN, under(CHOSEN, "other_image")])
    assert not modality.needs_other_row([OTHER_CHOSEN])
    assert not make().needs_other_row([under(CHOSEN, "other_image")])
    cell = modality.extra_candidate(first, under(CHOSEN, "other_image"), second)
    assert images_of(cell.context) == [media(1)]
    assert content_hash(modality.other_key(first)) != content_hash(modality.other_key(second))
    assert content_hash(modality.other_key(first)) == content_hash(modality.other_key(pair([media(0)], text="And?")))
    assert modality.other_key(pair()) is None
    with pytest.raises(RowError, match="there are 2 other images for the 1 of the prompt"):
        modality.extra_candidate(first, under(CHOSEN, "other_image"), pair([media(1), media(2)]))
    assert make().other_key(first) == first.prompt


def test_copies_of_a_file_are_no_other_image(make: Make, tmp_path: Path) -> None:
    modality = make(other_image=FromRow())
    (tmp_path / "copy").mkdir()
    rows = [pair([image]) for image in (written(tmp_path), written(tmp_path / "copy"), written(tmp_path, 1))]
    keys = [content_hash(modality.other_key(row)) for row in rows]
    assert keys[0] == keys[1] != keys[2]
    assert modality.other_key(pair([Media("nowhere.png")])) is None


def test_parts_without_their_image_are_bad_rows(make: Make) -> None:
    """Formats of text leave messages as they are written."""
    empty = {"type": "image"}
    prompt = [{"role": "user", "content": [empty, {"type": "text", "text": "What?"}]}]
    row = replace(pair([media(0)]), prompt=prompt, extra={"other_images": (media(1),)})
    modality = make(other_image=FromRow())
    assert modality.other_key(row) is None
    with pytest.raises(RowError, match="type 'image' without image"):
        make().encode(add_cells(row, (under(CHOSEN, "other_image"),), make()))
    with pytest.raises(RowError, match="the response holds an image"):
        modality.encode(pair([media(0)], rejected=[{"role": "assistant", "content": [empty]}]))


# What the loop does with it


def test_rows_with_and_without_images_make_a_batch(make: Make) -> None:
    modality = make("qwen2_5_vl")
    rows = [pair([media(0)]), pair(), pair([media(1), media(2)])]
    batch = modality.collate([modality.encode(row) for row in rows], range(3))
    policy = modality.load()
    logps = modality.likelihood(policy, batch, Needs()).logps
    for number, row in enumerate(rows):
        alone = modality.likelihood(policy, modality.collate([modality.encode(row)], [number]), Needs()).logps[0]
        torch.testing.assert_close(alone, logps[number], rtol=1e-5, atol=1e-4)


def test_comparisons_of_text_formats_are_read(make: Make) -> None:
    """Plain strings, and chats without images, as the formats of the text modality parse them."""
    from modalign.plugins.formats.trl_preference import TrlPreference

    modality, format = make(), TrlPreference()
    assert format.fits(modality)
    plain = {"prompt": "Which colour?", "chosen": "red", "rejected": "blue"}
    chats = {
        "prompt": [{"role": "user", "content": "Which colour?"}],
        "chosen": [{"role": "assistant", "content": "red"}],
        "rejected": [{"role": "assistant", "content": "blue"}],
    }
    cells = [modality.encode(format.parse(row)[0]).cells for row in (plain, chats)]
    for first, second in zip(*cells, strict=True):
        assert first.prompt.tolist() == second.prompt.tolist()
        assert first.completion.tolist() == second.completion.tolist()


def test_the_name_of_an_image_variant_is_none() -> None:
    with pytest.raises(UserError, match="other_image is 'cropped', which is no image variant"):
        VisionLanguage("anything", other_image="cropped")  # type: ignore[arg-type]


def test_unknown_quantities_are_refused(make: Make) -> None:
    modality = make()
    batch = modality.collate([modality.encode(pair())], [0])
    with pytest.raises(ConfigError, match="The vision_language modality cannot compute 'divergance'"):
        modality.likelihood(torch.nn.Linear(1, 1), batch, Needs(extra=frozenset({"divergance"})))


def test_marked_segments_reach_the_cells(make: Make) -> None:
    marks = {"chosen": [[0, 3]], "rejected": [[2, 6]]}
    cells = make().encode(pair([media()], extra={"corrected": marks})).cells
    decode = make().tokenizer.decode
    marked = [decode(cell.completion[cell.corrected == 1]) for cell in cells]
    assert [text.strip() for text in marked] == ["The", "blue"]


def test_data_workers_can_hold_it(make: Make) -> None:
    modality = make("qwen2_5_vl", other_image=None)
    cell = modality.encode(pair([media()])).cells[0]
    again = pickle.loads(pickle.dumps(modality)).encode(pair([media()])).cells[0]
    assert torch.equal(again.prompt, cell.prompt)
    assert again.media_key == cell.media_key


# Keys of caches


@pytest.mark.parametrize(
    "options",
    [
        {"max_image_side": 16},
        {"too_long": "resize"},
        {"max_completion_length": 4},
        {"dtype": "bfloat16"},
        {"add_eos": False},
        {"chat_template_kwargs": {"brief": True}},
        {"chat_template": "{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}"},
    ],
    ids=str,
)
def test_the_fingerprint_covers_every_option_that_changes_a_number(make: Make, options: dict[str, Any]) -> None:
    assert make().fingerprint() == make(lora=Lora(r=2), chunk_size=7).fingerprint()
    assert make(**options).fingerprint() != make().fingerprint()


def test_the_fingerprint_covers_the_image_processor(make: Make) -> None:
    changed = make()
    changed.processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    assert changed.fingerprint() != make().fingerprint()
    changed = make()
    changed.processor.patch_size = 8
    assert changed.fingerprint() != make().fingerprint()


# What a person sees


def test_preview_shows_turns_and_names_images(make: Make) -> None:
    prompt = [
        {"role": "system", "content": "Be brief."},
        *question("Is <image> like <image>?", [Media("a.png"), picture()]),
    ]
    shown = make().preview(prompt, answer("Yes."))
    assert shown == "system: Be brief.\nuser: Is <image a.png> like <image>?\nassistant: Yes."
    assert make().preview("Hello?", "Hi.") == "user: Hello?\nassistant: Hi."
