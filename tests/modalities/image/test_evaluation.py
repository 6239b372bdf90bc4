"""Pictures that are only evaluated on are shown as they are: never mirrored, and under their own prompt."""

from pathlib import Path

import torch
from lightning.pytorch import Trainer

from modalign import PreferenceDataModule
from modalign.core.batch import EVALUATION
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.image.formats.image_pairs import ImagePairs
from tests.modalities.image.tiny import double, write_pairs


def test_training_varies_what_evaluation_shows_as_it_is(stable_diffusion: Path, tmp_path: Path) -> None:
    modality = double(stable_diffusion, flip=True, caption_dropout=0.5, draw_cycle=1)
    rows = str(write_pairs(tmp_path, rows=12))
    data = PreferenceDataModule(ImagePairs(), train=rows, validation=rows, batch_size=12, shuffle=False)
    data.connect(modality, Dpo())
    data.trainer = Trainer(logger=False, accelerator="cpu", default_root_dir=tmp_path)
    data.setup("fit")
    (shown,) = data.val_dataloader()
    training, evaluation = data.all_batches(rank=0, world=1)
    (probe,) = data.probe_batches(1)
    assert training.epoch == 0
    assert evaluation.epoch == shown.epoch == probe.epoch == EVALUATION
    assert "" in training.inputs["prompts"]
    assert "" not in evaluation.inputs["prompts"]
    pictures = [modality.decode(each.response)[0] for c in data.comparisons("validation") for each in c.candidates]
    assert torch.equal(evaluation.inputs["media"], torch.stack(pictures))
    assert not torch.equal(training.inputs["media"], torch.stack(pictures))
    assert torch.equal(evaluation.inputs["media"], shown.inputs["media"])
    assert modality.draw_key(3, 0) != modality.draw_key(3, EVALUATION)
