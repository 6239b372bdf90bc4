"""What is seen and logged of pictures: those only evaluated on are as they are, under their own prompt."""

import json
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.batch import EVALUATION
from modalign.core.jsonl_logger import JsonlLogger
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


def test_a_run_logs_images_and_no_lengths(stable_diffusion: Path, tmp_path: Path) -> None:
    rows = str(write_pairs(tmp_path, rows=4))
    module = PreferenceModule(double(stable_diffusion), Dpo(500.0))
    data = PreferenceDataModule(ImagePairs(), train=rows, batch_size=2)
    logger = JsonlLogger(str(tmp_path / "run"))
    Trainer(
        accelerator="cpu",
        precision="64-true",
        max_steps=1,
        log_every_n_steps=1,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path / "run",
    ).fit(module, datamodule=data)
    logged = set().union(*map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()))
    assert "throughput/images_per_second" in logged
    assert not [name for name in logged if name.startswith("lengths/") or name == "truncated"]
