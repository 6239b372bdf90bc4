"""Training ends in the weights that TRL's DPOTrainer ends in: rows, tokens, masks, losses, accumulation and all."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.objectives.base import Objective
from modalign.core.objectives.pairwise import Dpo, Hinge, Ipo, RobustDpo
from modalign.core.schedule import Schedule
from modalign.modalities.text.collation import LAYOUTS, Layout
from modalign.modalities.text.modality import Text
from modalign.modalities.text.scratch import new_model, train_tokenizer
from modalign.plugins.formats.trl_preference import TrlPreference

trl = pytest.importorskip("trl")

ROWS = [
    {"prompt": f"What is {n} and {n + 1}?", "chosen": f" It is {2 * n + 1}, friend.", "rejected": " No" * (1 + n % 3)}
    for n in range(8)
]
CASES: dict[str, tuple[Objective, dict[str, Any]]] = {
    "dpo": (Dpo(beta=0.3), {"loss_type": "sigmoid", "beta": 0.3}),
    "ipo": (Ipo(beta=0.3), {"loss_type": "ipo", "beta": 0.3}),
    "hinge": (Hinge(beta=0.3), {"loss_type": "hinge", "beta": 0.3}),
    "robust": (RobustDpo(beta=0.3, label_smoothing=0.2), {"loss_type": "robust", "beta": 0.3, "label_smoothing": 0.2}),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    tokenizer = train_tokenizer([json.dumps(row) for row in ROWS], 300)
    tokenizer.save_pretrained(folder / "model")
    new_model(tokenizer, hidden_size=16, layers=2, heads=2, max_positions=128).double().save_pretrained(
        folder / "model"
    )
    return folder


def by_trl(start: Path, out: Path, options: dict[str, Any]) -> nn.Module:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(start / "model", dtype=torch.float64)
    arguments = trl.DPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        num_train_epochs=1,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        train_sampling_strategy="sequential",
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
        **options,
    )
    trainer = trl.DPOTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(ROWS),
        processing_class=AutoTokenizer.from_pretrained(start / "model"),
    )
    trainer.train()
    return model


def by_us(start: Path, out: Path, objective: Objective, layout: Layout) -> nn.Module:
    seed_everything(0, verbose=False)
    module = PreferenceModule(
        Text(str(start / "model"), dtype="float64", max_length=128, layout=layout),
        objective,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
        schedule=Schedule("constant"),
    )
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        accumulate_grad_batches=2,
        default_root_dir=out,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    data = PreferenceDataModule(TrlPreference(), train=str(start / "rows.jsonl"), batch_size=2, shuffle=False)
    trainer.fit(module, data)
    return module.policy


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An objective, and the weights that TRL's trainer ends in with it."""
    objective, options = CASES[request.param]
    return objective, dict(by_trl(start, tmp_path_factory.mktemp("trl"), options).named_parameters())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_weights_as_trl(start: Path, tmp_path: Path, case: Any, layout: Layout) -> None:
    objective, theirs = case
    ours = dict(by_us(start, tmp_path, objective, layout).named_parameters())
    assert ours.keys() == theirs.keys()
    start_weights = Text(str(start / "model"), dtype="float64", max_length=128).load().state_dict()
    moved = max((ours[key] - start_weights[key]).abs().max().item() for key in theirs)
    assert moved > 1e-3
    for key in theirs:
        # Llama's norms round to float32 inside, whatever the weights' dtype.
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=2e-5 * moved)
