"""Builders that are killed, and builders that work at once: nothing that was finished is lost or made wrong."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modalign.core.batch import Comparison
from modalign.core.errors import UserError
from modalign.modalities.diffusion import preparation, shards
from modalign.modalities.diffusion.encoded_modality import EncodedModality
from modalign.modalities.diffusion.survey import Survey
from tests.modalities.image.test_cache import CPU, batch, cached, comparisons, inputs_of, same

FORK = multiprocessing.get_context("fork")


def counted(monkeypatch: pytest.MonkeyPatch, then: Callable[[int], None] = lambda count: None) -> list[int]:
    """Count the pictures that are encoded from here on."""
    made, original = [0], EncodedModality.encode_medium

    def encode(self: EncodedModality, medium: torch.Tensor) -> Any:
        then(made[0])
        made[0] += 1
        return original(self, medium)

    monkeypatch.setattr(EncodedModality, "encode_medium", encode)
    return made


def prepare(modality: Any, rows: list[Comparison]) -> None:
    """What a forked builder runs: torch's threads do not survive a fork, and waiting for them has no end."""
    torch.set_num_threads(1)
    modality.prepare(rows, CPU)


def killed_after(count: int) -> Callable[[int], None]:
    return lambda made: os.kill(os.getpid(), signal.SIGKILL) if made == count else None


def missing(model: Path, folder: Path, rows: list[Comparison]) -> int:
    modality = cached(model, folder)
    assert modality.cache is not None
    lack = Survey(modality, modality.cache, rows).media
    assert lack is not None
    return len(lack.missing)


def test_a_killed_builder_goes_on_where_it_stood(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path, 6)
    monkeypatch.setattr(shards, "SECONDS_BETWEEN_SHARDS", -1.0)  # a shard a picture
    with monkeypatch.context() as patched:
        counted(patched, killed_after(6))  # the first tells the size
        victim = FORK.Process(target=prepare, args=(cached(model, tmp_path), rows))
        victim.start()
        victim.join(120)
    assert victim.exitcode == -signal.SIGKILL
    assert missing(model, tmp_path, rows) == 12 - 5
    made = counted(monkeypatch)
    cached(model, tmp_path).prepare(rows, CPU)
    assert made == [7 + 1]
    assert missing(model, tmp_path, rows) == 0


def test_two_builders_at_once(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path, 10)
    monkeypatch.setattr(shards, "SECONDS_BETWEEN_SHARDS", -1.0)
    both = [FORK.Process(target=prepare, args=(cached(model, tmp_path), part)) for part in (rows[:7], rows[3:])]
    for builder in both:
        builder.start()
    for builder in both:
        builder.join(120)
    assert [builder.exitcode for builder in both] == [0, 0]
    assert missing(model, tmp_path, rows) == 0
    from_disk, live = cached(model, tmp_path), cached(model, tmp_path / "empty")
    assert from_disk.cache is not None
    assert from_disk.cache.latents is not None
    assert not from_disk.cache.latents.broken
    same(inputs_of(from_disk, batch(from_disk, rows)), inputs_of(live, batch(live, rows)))
    assert "media" not in batch(from_disk, rows).inputs
    assert "media" in batch(live, rows).inputs


def rank_prepares(rank: int, meeting: Path, model: Path, folder: Path, rows: list[Comparison], outcome: Any) -> None:
    """One of two processes of a run."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        prepare(cached(model, folder), rows)
        outcome.put("done")
    except UserError as error:
        outcome.put(str(error))


def outcomes(model: Path, folders: list[Path], rows: list[Comparison], meeting: Path) -> list[str]:
    outcome = FORK.Queue()
    ranks = [
        FORK.Process(target=rank_prepares, args=(rank, meeting, model, folder, rows, outcome))
        for rank, folder in enumerate(folders)
    ]
    for rank in ranks:
        rank.start()
    told = [outcome.get(timeout=120) for _ in ranks]
    for rank in ranks:
        rank.join(120)
    return told


def test_ranks_find_what_the_others_encoded(tmp_path: Path, pipeline_folder: Callable[[str], Path]) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path, 6)
    assert outcomes(model, [tmp_path, tmp_path], rows, tmp_path / "first") == ["done", "done"]
    assert missing(model, tmp_path, rows) == 0
    # A rank that finds everything there, and has nothing to do, still waits for the others.
    assert outcomes(model, [tmp_path, tmp_path], rows, tmp_path / "again") == ["done", "done"]


def test_ranks_with_disks_of_their_own_are_told(
    tmp_path: Path, pipeline_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = pipeline_folder("stable_diffusion"), comparisons(tmp_path, 6)
    monkeypatch.setattr(preparation, "SECONDS_UNTIL_SEEN", 1.0)
    nodes = [tmp_path / "node0", tmp_path / "node1"]
    for told in outcomes(model, nodes, rows, tmp_path / "first"):
        assert "images" in told
        assert "that other processes of this run have encoded are not in" in told
        assert "Set modality.cache_folder to a folder on a disk that all machines share" in told
    for node in nodes:  # the other cure: `modalign cache` on each of them
        cached(model, node).prepare(rows, CPU)
    assert outcomes(model, nodes, rows, tmp_path / "again") == ["done", "done"]
