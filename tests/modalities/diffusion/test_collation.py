"""Cells as the tensors of a batch."""

import torch

from modalign.modalities.diffusion.cells import DiffusionCell
from modalign.modalities.diffusion.collation import cell_inputs, encoded_inputs, text_of
from modalign.modalities.diffusion.family import Conditioning
from modalign.modalities.diffusion.frozen_outputs import Record


def test_a_caption_that_is_dropped_gives_way_to_the_unconditional_one_though_it_is_empty() -> None:
    captions = [("rain", None), ("", None), ("", "rain"), ("", "")]  # what is left of each, and what is dropped
    cells = [DiffusionCell("", prompt, media=torch.zeros(1), dropped=dropped) for prompt, dropped in captions]

    def encode(prompt: str) -> Record:
        return {"states": torch.tensor([float(len(prompt))])}

    def unconditional(empty: Conditioning, dropped: Conditioning) -> Conditioning:
        return {"states": -1 - dropped["states"] - 10 * empty["states"]}

    inputs = encoded_inputs(cell_inputs(cells, None), lambda medium: {"mean": medium}, encode)
    assert text_of(inputs, unconditional)["states"].flatten().tolist() == [4, 0, -5, -1]
