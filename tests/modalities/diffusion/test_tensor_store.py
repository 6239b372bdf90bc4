"""Records on disk: whole or missing, whoever writes, whenever one is killed, from whichever process they are read."""

import multiprocessing
import os
import pickle
import time
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modalign.core.content import content_hash
from modalign.core.errors import UserError
from modalign.modalities.diffusion import shards
from modalign.modalities.diffusion.shards import ShardReader, ShardWriter, write_shard
from modalign.modalities.diffusion.tensor_store import TensorStore, packed

RECORD_BYTES = 6 * 4


def key(number: int) -> str:
    return content_hash(number)


def record(number: int) -> dict[str, torch.Tensor]:
    return {"mean": torch.full((2, 3), float(number))}


def fill(store: TensorStore, numbers: range | list[int], a_shard: int = 4) -> None:
    with store.writer(a_shard * RECORD_BYTES) as writer:
        for number in numbers:
            writer.add(key(number), record(number))


def holds(store: TensorStore, numbers: range | list[int]) -> bool:
    return all(torch.equal(store.read(key(number))["mean"], record(number)["mean"]) for number in numbers)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = TensorStore(tmp_path / "new" / "folder")
    assert key(0) not in store
    fill(store, range(10))
    assert len(list(store.folder.glob("*.safetensors"))) == 3
    assert holds(store, range(10))
    assert key(10) not in store
    assert len(store) == 10
    with pytest.raises(UserError, match="has lost a record"):
        store.read(key(10))


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_every_dtype_and_form_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    store = TensorStore(tmp_path)
    values = [{"a": torch.ones(shape, dtype=dtype), "b": torch.zeros(2)} for shape in [(), (3,), (2, 0), (3,)]]
    values.append({"a": torch.ones(3, dtype=dtype)})
    with store.writer() as writer:
        for number, each in enumerate(values):
            writer.add(key(number), each)
    for number, each in enumerate(values):
        got = store.read(key(number))
        assert got.keys() == each.keys()
        for name in each:
            torch.testing.assert_close(got[name], each[name], rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.binary(min_size=16, max_size=16), max_size=30),
    st.lists(st.binary(min_size=16, max_size=16), max_size=9),
)
def test_any_keys_are_told_apart(present: list[bytes], others: list[bytes]) -> None:
    from tempfile import TemporaryDirectory

    present += [bytes(16), bytes(15) + b"\1", b"\1" + bytes(15)]
    with TemporaryDirectory() as folder:
        store = TensorStore(Path(folder))
        with store.writer(64) as writer:
            for place, each in enumerate(present):
                writer.add(each.hex(), {"n": torch.tensor([place])})
        for each in present:
            assert present[int(store.read(each.hex())["n"])] == each
        assert all((each.hex() in store) == (each in present) for each in others)
        wanted = packed(b"".join([*others, *present]))
        missing = store.missing(wanted)
        expected = sorted(set(others) - set(present))
        assert [each.ljust(16, b"\0") for each in missing.tolist()] == expected


def test_another_reader_sees_what_comes_later(tmp_path: Path) -> None:
    writing, reading = TensorStore(tmp_path), TensorStore(tmp_path)
    for number in range(5):
        assert key(number) not in reading
        fill(writing, [number])
        assert key(number) in reading


def test_it_travels_without_its_files(tmp_path: Path) -> None:
    store = TensorStore(tmp_path)
    fill(store, range(9))
    assert holds(store, range(9))
    sent = pickle.dumps(store)
    assert len(sent) < 400
    assert holds(pickle.loads(sent), range(9))


def _read_all(store: TensorStore, answers: "multiprocessing.SimpleQueue[bool]") -> None:
    answers.put(holds(store, range(40)))


@pytest.mark.parametrize(("method", "number"), [("fork", 2), ("spawn", 1)])  # who is spawned imports torch anew
def test_workers_of_either_kind_read(tmp_path: Path, method: str, number: int) -> None:
    store = TensorStore(tmp_path)
    fill(store, range(40))
    assert holds(store, range(40))
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    workers = [context.Process(target=_read_all, args=(store, answers)) for _ in range(number)]
    for worker in workers:
        worker.start()
    assert [answers.get() for _ in workers] == [True] * number
    for worker in workers:
        worker.join()


def test_open_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN_SHARDS", 5)
    store = TensorStore(tmp_path)
    fill(store, range(60), a_shard=1)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(2):
        assert holds(store, range(60))
    if Path("/proc/self/fd").exists():
        assert len(os.listdir("/proc/self/fd")) <= before + 10
        assert Path("/proc/self/maps").read_text().count(str(tmp_path)) <= 2 * 6
    assert isinstance(store._reader, ShardReader)
    assert len(store._reader._open) == 5


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_truncated_shard_is_told_and_its_records_are_missing(tmp_path: Path, keep: int) -> None:
    fill(TensorStore(tmp_path), range(4))
    fill(TensorStore(tmp_path), range(4, 8))
    victim = next(path for path in tmp_path.glob("*.safetensors") if key(0) in _alone(path))
    victim.write_bytes(victim.read_bytes()[:keep])
    store = TensorStore(tmp_path)
    assert holds(store, range(4, 8))
    assert not any(key(number) in store for number in range(4))
    assert store.broken == {victim}
    assert store.remove_broken() == [victim]
    assert not victim.exists()
    fill(store, range(4))
    assert holds(TensorStore(tmp_path), range(8))


def _alone(path: Path) -> list[str]:
    found = ShardReader().keys(path)
    return [found[start : start + 16].hex() for start in range(0, len(found), 16)]


def test_a_shard_that_vanishes_between_is_an_error_with_a_cure(tmp_path: Path) -> None:
    store = TensorStore(tmp_path)
    fill(store, range(4))
    assert key(0) in store
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match=r"cannot be read[\s\S]*computed anew"):
        store.read(key(0))


def test_what_was_gathered_is_written_when_an_error_ends_it(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ShardWriter(tmp_path) as writer:
            writer.add(key(1), record(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert holds(TensorStore(tmp_path), [1])


def test_a_slow_builder_writes_every_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SECONDS_BETWEEN_SHARDS", -1.0)
    writer = ShardWriter(tmp_path)
    writer.add(key(1), record(1))
    assert holds(TensorStore(tmp_path), [1])


def test_half_written_files_of_the_dead_are_removed_after_a_day(tmp_path: Path) -> None:
    old, fresh = tmp_path / "a.partial", tmp_path / "b.partial"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    TensorStore(tmp_path).writer()
    assert not old.exists()
    assert fresh.exists()


def test_a_full_disk_is_a_users_error_and_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left[\s\S]*what was finished is kept"):
        write_shard(tmp_path, [key(1)], [record(1)])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        TensorStore(tmp_path / "file" / "below").writer()


def build(folder: Path, first: int, last: int, pause: float, begun: Barrier) -> None:
    store = TensorStore(folder)
    begun.wait(60)
    with store.writer(3 * RECORD_BYTES) as writer:
        for number in range(first, last):
            if key(number) not in store:
                writer.add(key(number), record(number))
                time.sleep(pause)


def builders(folder: Path, *work: tuple[int, int, float]) -> list[BaseProcess]:
    """Processes that begin together; each has opened the folder before any writes."""
    fork = multiprocessing.get_context("fork")
    begun = fork.Barrier(len(work))
    found = [fork.Process(target=build, args=(folder, *share, begun)) for share in work]
    for each in found:
        each.start()
    return found


def exit_codes(processes: list[BaseProcess]) -> list[int | None]:
    for each in processes:
        each.join(60)
    return [each.exitcode for each in processes]


@pytest.mark.slow
def test_two_processes_fill_one_folder(tmp_path: Path) -> None:
    assert exit_codes(builders(tmp_path, (0, 60, 0.002), (20, 80, 0.002))) == [0, 0]
    store = TensorStore(tmp_path)
    assert holds(store, range(80))
    assert not store.broken
    assert not list(tmp_path.glob("*.partial"))
    shares = [len(_alone(path)) for path in tmp_path.glob("*.safetensors")]
    assert 80 <= sum(shares) <= 120


@pytest.mark.slow
def test_a_killed_builder_loses_only_what_it_had_not_finished(tmp_path: Path) -> None:
    (victim,) = builders(tmp_path, (0, 10_000, 0.003))
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.safetensors"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.kill()
    victim.join(60)
    store = TensorStore(tmp_path)
    kept = len(store)
    assert kept >= 15
    assert not store.broken
    assert holds(store, range(kept))
    files = set(tmp_path.glob("*.safetensors"))
    assert exit_codes(builders(tmp_path, (0, kept + 7, 0.0))) == [0]
    assert holds(TensorStore(tmp_path), range(kept + 7))
    new = [each for path in set(tmp_path.glob("*.safetensors")) - files for each in _alone(path)]
    assert sorted(new) == sorted(key(number) for number in range(kept, kept + 7))


def test_the_index_of_many_records_is_small_and_quick(tmp_path: Path) -> None:
    count = 200_000
    keys = np.random.default_rng(0).integers(0, 256, (count, 16), dtype=np.uint8)
    for part in np.split(keys, 20):
        write_shard(tmp_path, [bytes(each).hex() for each in part], [{"n": torch.zeros(1)}] * len(part))
    store = TensorStore(tmp_path)
    began = time.monotonic()
    assert bytes(keys[123_456]).hex() in store
    assert time.monotonic() - began < 5
    assert (store._keys.nbytes + store._places.nbytes) / count == 24
    assert len(store.missing(packed(keys.tobytes()))) == 0
