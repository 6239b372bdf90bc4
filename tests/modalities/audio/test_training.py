"""Training on sounds is exact: however a step is split, from the cache or live, for every family alike."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

import pytest
import torch
from torch import Tensor

from modalign.core.callbacks.drift import DriftLog
from modalign.core.objectives.base import Objective
from modalign.core.objectives.listwise import RankDpo
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from modalign.core.reference import CachedReference, FrozenReference, Reference
from modalign.modalities.audio.modality import Audio
from modalign.modalities.diffusion import encoded_modality
from tests.modalities.audio.training import double, train, weights, write_lists, write_pairs
from tests.tiny_audio.waveform import tangoflux
from tests.two_ranks import on_two_ranks

Folder = Callable[[str], Path]


def crpo(beta: float) -> Objective:
    return WeightedSum({"dpo": Dpo(beta), "sft": Sft()})


def assert_close(left: dict[str, Tensor], right: dict[str, Tensor], atol: float) -> None:
    for name, values in left.items():
        torch.testing.assert_close(values, right[name], rtol=0, atol=atol)


@pytest.mark.parametrize("lists", [False, True], ids=["crpo", "rankdpo"])
def test_micro_batches_and_uneven_ends(tmp_path: Path, audio_folder: Folder, lists: bool) -> None:
    """4 x 1 = 2 x 2 = 1 x 4 = two ranks of 1 x 2, with crops and captions that are drawn.

    Over windows of 4 rows and of 1, of which one rank has none.
    """
    file = write_lists(tmp_path, [2, 3, 2, 4, 2]) if lists else write_pairs(tmp_path, 5)
    modality = double(audio_folder("waveform.tangoflux"), crop="random", caption_dropout=0.3, draws=2)

    def run(batch_size: int, accumulate: int, **options: Any) -> dict[str, Tensor]:
        options |= {"precision": "64-true", "max_epochs": 1, "gradient_clip_val": 1.0}
        objective = RankDpo(500.0) if lists else crpo(500.0)
        return weights(train(modality, file, objective, batch_size, accumulate_grad_batches=accumulate, **options))

    whole, start = run(4, 1), modality.load().state_dict()
    assert max(float((whole[name] - start[name]).abs().max()) for name in whole) > 1e-4
    for batch_size in (1,) if lists else (1, 2):
        assert_close(whole, run(batch_size, 4 // batch_size), 1e-11)
    ranks = [] if lists else on_two_ranks(tmp_path, lambda: run(1, 2, devices=2, strategy="ddp"))
    for of_rank in ranks:
        assert_close(whole, of_rank, 1e-11)


@pytest.mark.parametrize("name", ["waveform.tangoflux", "mel.tango"])
def test_cached_equals_live(tmp_path: Path, audio_folder: Folder, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder, file = str(audio_folder(name)), write_pairs(tmp_path, 5)

    def run(**options: Any) -> dict[str, Tensor]:
        modality = Audio(folder, crop="center", caption_dropout=0.3, cache_dtype="float32", **options)
        return weights(train(modality, file, Dpo(500.0), 2, max_steps=4))

    live, kept = run(cache="off"), str(tmp_path / "cache")
    assert_close(live, run(cache_folder=kept), 0)

    def refuse(*given: Any) -> Any:
        raise AssertionError("done again")

    for place, method in (
        (encoded_modality.EncodedModality, "encode_medium"),
        (encoded_modality.EncodedModality, "encode_prompt"),
        (Audio, "decode"),
    ):
        monkeypatch.setattr(place, method, refuse)
    assert_close(live, run(cache_folder=kept), 0)


def test_a_cached_reference_equals_a_live_one(tmp_path: Path, audio_folder: Folder) -> None:
    """Batches of one row, so that a row's numbers are the same to the bit; every epoch has its own draws."""
    folder, file = str(audio_folder("waveform.tangoflux")), write_pairs(tmp_path, 2)
    options: dict[str, Any] = {"batch_size": 1, "max_epochs": 2}

    def run(reference: Reference) -> dict[str, Tensor]:
        modality = Audio(folder, caption_dropout=0.3, cache_folder=str(tmp_path / "frozen"))
        return weights(train(modality, file, Dpo(500.0), reference=reference, **options))

    live, kept = run(FrozenReference()), str(tmp_path / "reference.sqlite")
    assert_close(live, run(CachedReference(kept)), 0)
    with closing(connect(kept)) as cache:
        ((table,),) = cache.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite%'")
        assert cache.execute(f"select count(*) from {table}").fetchone() == (2 * 2 * 2,)
    assert_close(live, run(CachedReference(kept)), 0)


def test_plain_dpo_that_ruins_the_policy_says_so_and_crpo_does_not(tmp_path: Path) -> None:
    """Accuracy reads 1.00 in both."""
    model, told = tangoflux(tmp_path / "model", mel=True), {}
    for name, objective in (("dpo", Dpo(20.0)), ("crpo", crpo(20.0))):
        drift, folder = DriftLog(), tmp_path / name
        modality = Audio(str(model), cache_folder=str(tmp_path / "cache"), draws=2, draw_cycle=1)
        options: dict[str, Any] = {"callbacks": [drift], "max_steps": 25, "gradient_clip_val": 0.2}
        train(modality, write_pairs(folder, 4), objective, learning_rate=1.0, **options)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["rewards/accuracies"] for row in rows if "rewards/accuracies" in row][-1] == 1.0
        told[name] = drift.warnings
    assert told["crpo"] == []
    (warning,) = told["dpo"]
    assert "is ruining the policy, though its accuracy reads 1.00" in warning
