"""How cells with images are laid out, whatever their lengths and numbers of images."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.modalities.vision_language.cell import MediaCell
from modalign.modalities.vision_language.collation import NO_MEDIA, collate, select_cells


@st.composite
def cells(draw: st.DrawFn) -> list[MediaCell]:
    """Cells with up to three images; those with any have types of tokens and a mask of tokens by images."""
    made = []
    for _ in range(draw(st.integers(1, 5))):
        prompt, completion = draw(st.integers(1, 6)), draw(st.integers(1, 5))
        images = draw(st.integers(0, 3))
        shown = torch.ones(prompt, images, 2).tril().long()
        made.append(
            MediaCell(
                torch.randint(1, 50, (prompt,), dtype=torch.int32),
                torch.randint(50, 99, (completion,), dtype=torch.int32),
                {"mm_token_type_ids": torch.ones(prompt).long(), "cross_attention_mask": shown} if images else {},
                {"pixel_values": torch.full((images, 3), float(images))} if images else {},
                f"{images} images" if images else "",
            )
        )
    return made


def check(inputs: dict[str, Any], made: list[MediaCell]) -> None:
    assert inputs["input_ids"].shape[1] == max(len(cell.prompt) + len(cell.completion) for cell in made)
    for row, cell in enumerate(made):
        start, end = len(cell.prompt), len(cell.prompt) + len(cell.completion)
        assert inputs["input_ids"][row, :end].tolist() == [*cell.prompt.tolist(), *cell.completion.tolist()]
        assert inputs["attention_mask"][row].sum() == end
        number = inputs["media_of"][row]
        assert (number == NO_MEDIA) == (not cell.media)
        if cell.media:
            torch.testing.assert_close(inputs["media"][number], dict(cell.media))
        for name, values in inputs["token_wise"].items():
            found = values[row]
            assert not found[end:].any()
            if name not in cell.token_wise:
                assert not found.any()
                continue
            own = cell.token_wise[name]
            within = (slice(None), *(slice(size) for size in own.shape[1:]))
            assert torch.equal(found[:start][within], own)
            last = own[-1] if name == "cross_attention_mask" else torch.zeros_like(own[-1])
            assert all(torch.equal(token[within[1:]] if token.dim() else token, last) for token in found[start:end])
            assert found.sum() == own.sum() + last.sum() * len(cell.completion)


@given(cells())
@settings(max_examples=40, deadline=None)
def test_every_cell_finds_its_tokens_and_its_images(made: list[MediaCell]) -> None:
    inputs = collate(made)
    check(inputs, made)
    assert len(inputs["media"]) == len({cell.media_key for cell in made} - {""})


@given(cells(), st.data())
@settings(max_examples=40, deadline=None)
def test_some_cells_are_laid_out_as_if_they_were_all(made: list[MediaCell], data: st.DataObject) -> None:
    """But for columns for more images than they have, which hold zeros."""
    keep = data.draw(st.lists(st.booleans(), min_size=len(made), max_size=len(made)).filter(any))
    inputs = collate(made) | {"features": []}
    inputs["features"] = [images["pixel_values"] for images in inputs["media"]]
    some = select_cells(inputs, torch.tensor(keep))
    kept = [cell for cell, wanted in zip(made, keep, strict=True) if wanted]
    check(some, kept)
    alone = collate(kept)
    for name in ("input_ids", "attention_mask", "owners", "predictors", "targets", "cells", "offsets"):
        assert torch.equal(some[name], alone[name]), name
    assert all(some["features"][n] is images["pixel_values"] for n, images in enumerate(some["media"]))
    assert len(some["media"]) == len(alone["media"])
