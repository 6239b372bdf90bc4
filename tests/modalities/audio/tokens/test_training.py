"""Whole runs of preference optimisation: from ln 2 on, however a step is split and wherever the reference is."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from modalign import PreferenceDataModule, PreferenceModule
from modalign.core.errors import UserError
from modalign.core.jsonl_logger import JsonlLogger
from modalign.core.objectives.base import Needs, Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.reference import AdapterReference, CachedReference, FrozenReference, Reference
from modalign.core.schedule import Schedule
from modalign.modalities.audio.formats.audio_pairs import AudioPairs
from modalign.modalities.audio.tokens.likelihood import token_logps
from modalign.modalities.audio.tokens.modality import AudioTokens
from modalign.modalities.lora import Lora
from tests.sounds import EVENTS, noise, pair_rows, save, sequence, tone, write_jsonl
from tests.tiny_audio.tokens import RATE

from .conftest import batch_of, cells, pair

MakeTokens = Callable[..., AudioTokens]
Weights = dict[str, Tensor]


def write_pairs(folder: Path, rows: int) -> Path:
    """Pairs of sounds, the chosen ones of some rows longer than the others."""
    found = pair_rows(folder, rows, seconds=0.1, rate=RATE)
    for row in found[::3]:
        save(sequence(EVENTS[:3], 0.1, RATE), folder / str(row["chosen"]))
    return write_jsonl(folder / "pairs.jsonl", found)


def fit(
    modality: AudioTokens,
    data: Path,
    objective: Objective,
    reference: Reference | None = None,
    batch_size: int = 4,
    accumulate: int = 1,
    steps: int = 2,
    lr: float = 0.01,
    precision: Any = "64-true",
) -> tuple[Weights, list[dict[str, Any]]]:
    """The policy's weights after some steps, and what was logged."""
    seed_everything(7, verbose=False)
    folder = data.parent / f"run{len(list(data.parent.iterdir()))}"
    module = PreferenceModule(
        modality, objective, reference, optimizer=lambda p: torch.optim.SGD(p, lr=lr), schedule=Schedule("constant")
    )
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        precision=precision,
        logger=JsonlLogger(str(folder)),
        log_every_n_steps=1,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=1.0,
    )
    trainer.fit(module, PreferenceDataModule(AudioPairs(), train=str(data), batch_size=batch_size))
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    weights = {name: weight.clone() for name, weight in module.policy.state_dict().items()}
    return weights, [line for line in logged if "loss" in line]


def assert_close(left: Weights, right: Weights) -> None:
    for name, weight in left.items():
        torch.testing.assert_close(weight, right[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["musicgen", "dia"])
def test_dpo_starts_at_ln_2_and_raises_the_margin(tokens: MakeTokens, tmp_path: Path, name: str) -> None:
    modality = tokens(name)
    before = modality.load().state_dict()
    after, logged = fit(modality, write_pairs(tmp_path, 4), Dpo(0.1), steps=4, lr=0.05)
    assert logged[0]["loss"] == pytest.approx(math.log(2), rel=0, abs=1e-7)
    assert logged[-1]["loss"] < logged[0]["loss"] - 0.05
    assert logged[-1]["rewards/margins"] > 0.1
    moved = {key for key, weight in after.items() if not torch.equal(weight, before[key])}
    assert moved
    assert not any(key.startswith(modality.family.frozen) for key in moved)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_other_precisions(tokens: MakeTokens, tmp_path: Path, precision: str) -> None:
    modality = tokens("musicgen", dtype="float32", lora=Lora(r=4))
    _, logged = fit(modality, write_pairs(tmp_path, 4), Dpo(0.1), lr=0.2, steps=3, precision=precision)
    assert logged[0]["loss"] == pytest.approx(math.log(2), rel=0, abs=1e-6)
    assert logged[-1]["loss"] < logged[0]["loss"]


@pytest.mark.parametrize("name", ["musicgen", "dia"])
def test_micro_batches_and_uneven_ends(tokens: MakeTokens, tmp_path: Path, name: str) -> None:
    data, modality = write_pairs(tmp_path, 6), tokens(name)  # windows of 4 and 2
    whole, _ = fit(modality, data, Dpo(0.1))
    assert_close(whole, fit(modality, data, Dpo(0.1), batch_size=2, accumulate=2)[0])
    assert_close(whole, fit(modality, data, Dpo(0.1), batch_size=1, accumulate=4)[0])


def test_token_means_over_micro_batches(tokens: MakeTokens, tmp_path: Path) -> None:
    data, modality = write_pairs(tmp_path, 6), tokens("dia", seconds=0.15)  # some sounds are cut
    objective = Sft(normalization="token")
    whole, _ = fit(modality, data, objective)
    assert_close(whole, fit(modality, data, objective, batch_size=1, accumulate=4)[0])


def test_a_cached_reference_is_a_live_one(tokens: MakeTokens, tmp_path: Path) -> None:
    data = write_pairs(tmp_path, 4)
    live, _ = fit(tokens("musicgen"), data, Dpo(0.1), FrozenReference())
    cached, _ = fit(tokens("musicgen"), data, Dpo(0.1), CachedReference())
    with_codes = tokens("musicgen", cache="disk", cache_folder=str(tmp_path / "cache"))
    assert_close(live, cached)
    assert_close(live, fit(with_codes, data, Dpo(0.1), FrozenReference())[0])


def test_an_adapter_switched_off_is_the_frozen_reference(tokens: MakeTokens, tmp_path: Path) -> None:
    data, modality = write_pairs(tmp_path, 4), tokens("musicgen", lora=Lora(r=4))
    frozen, _ = fit(modality, data, Dpo(0.1), FrozenReference(), lr=0.5)
    assert_close(frozen, fit(modality, data, Dpo(0.1), AdapterReference(), lr=0.5)[0])


@pytest.mark.parametrize("name", ["musicgen", "dia"])
@pytest.mark.parametrize("targets", [None, "all-linear", ["fc1", "gate_up_proj"]])
def test_adapters_keep_to_the_decoder(tokens: MakeTokens, name: str, targets: Any) -> None:
    if isinstance(targets, list):
        targets = [target for target in targets if (target == "fc1") == (name == "musicgen")]
    modality = tokens(name, lora=Lora(r=2, target_modules=targets))
    policy = modality.load()
    adapted = {
        key.removeprefix("base_model.model.")
        for key, weight in policy.named_parameters()
        if weight.requires_grad and "lora_" in key
    }
    assert adapted
    assert not any(key.startswith((*modality.family.frozen, *modality.family.heads)) for key in adapted)
    assert all("lora_" in key for key, weight in policy.named_parameters() if weight.requires_grad)
    logps, _ = token_logps(modality.family, policy, cells(modality, [3, 5]), 4)
    logps.sum().backward()
    assert all(weight.grad is not None for key, weight in policy.named_parameters() if "lora_B" in key)


def test_adapters_on_frozen_parts_are_refused(tokens: MakeTokens) -> None:
    with pytest.raises(UserError, match="which is frozen"):
        tokens("dia", lora=Lora(r=2, target_modules=r"model\.encoder\..*q_proj")).load()
    with pytest.raises(UserError, match=r"lora\.dropout is 0\.1"):
        tokens("dia", lora=Lora(r=2, dropout=0.1))


@pytest.mark.parametrize("name", ["musicgen", "dia"])
@pytest.mark.parametrize("lora", [None, Lora(r=2, init="gaussian")])
def test_recomputed_activations_give_the_same_gradients(tokens: MakeTokens, name: str, lora: Lora | None) -> None:
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        modality = tokens(name, lora=lora, gradient_checkpointing=recompute)
        policy = modality.load()
        logps, _ = token_logps(modality.family, policy, cells(modality, [3, 5]), 4)
        logps.sum().backward()
        gradients.append({key: weight.grad for key, weight in policy.named_parameters() if weight.requires_grad})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, rtol=0, atol=1e-9)


def test_dropout_is_off_unless_it_is_asked_for(tokens: MakeTokens) -> None:
    sounds: Sequence[Any] = (noise(0.2, RATE), tone(300, 0.1, RATE))
    for disabled in (True, False):
        modality = tokens("musicgen", disable_dropout=disabled)
        policy = modality.load()
        batch = batch_of(modality, [pair("a dog", *sounds)])
        drawn = [modality.likelihood(policy, batch, Needs()).logps for _ in range(2)]
        assert torch.equal(drawn[0], drawn[1]) == disabled
