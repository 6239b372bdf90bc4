"""Every seed is learned once and aligned by every policy, whatever comes out first."""

from functools import partial
from pathlib import Path

import pytest

from modalign.modalities.quickstart import seeds
from modalign.modalities.quickstart.method_options import MethodOptions
from modalign.modalities.quickstart.policies import Policy, policies
from modalign.modalities.quickstart.results import MethodResults
from modalign.modalities.quickstart.seeds import Aligned, Learned, SeedFolders, run_seeds
from modalign.modalities.quickstart.stages import Stage
from tests.modalities.quickstart.running import FORKS

IMITATE, LISTS = Stage("sft", 0.1, {"max_steps": 1}, 2), Stage("rankdpo", 0.1, {"max_steps": 1}, 2)
TRAINED = policies(IMITATE, {"dpo": IMITATE, "rank": LISTS}, {"dpo": "DPO", "rank": "Rank"}, ["rank"], ["rank"])


def learn(scale: int, seed: int) -> Learned[str, int]:
    return Learned(seed, f"pairs {seed}", scale * seed)


def align(scale: int, learned: Learned[str, int], policy: Policy) -> Aligned[int]:
    return Aligned(learned.seed, policy.title, learned.measured + scale * len(policy.title))


def test_policies_stand_after_their_controls_and_name_their_rows() -> None:
    assert [(policy.title, policy.folder, policy.rows, policy.coin) for policy in TRAINED] == [
        ("SFT on the chosen", "sft_on_chosen", "pairs.jsonl", False),
        ("Rank, coin", "rank_coin", "coin_lists.jsonl", True),
        ("Rank", "rank", "lists.jsonl", False),
    ]


def test_seeds_come_in_their_order_with_every_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "multiprocessing", FORKS)
    told: list[str] = []
    options = MethodOptions(tmp_path, range(4, 6), True, ("rank",), processes=2)
    found = run_seeds(
        partial(learn, 10), partial(align, 10), TRAINED, options, lambda result: f"{result.seed}", told.append
    )
    assert [result.learned for result in found] == [learn(10, 4), learn(10, 5)]
    for result, base in zip(found, (40, 50), strict=True):
        lengths = {"SFT on the chosen": base + 170, "Rank, coin": base + 100, "Rank": base + 40}
        assert result.measured == {"start": base, **lengths}
    assert sorted(told) == ["4"] * 4 + ["5"] * 4

    results = MethodResults(SeedFolders(tmp_path), ["rank"], TRAINED, found)
    assert results.titles == ["start", "SFT on the chosen", "Rank, coin", "Rank"]
    assert results.models()["Rank"] == [str(tmp_path / f"seed-{seed}" / "aligned" / "rank") for seed in (4, 5)]
    assert "Rank, coin" not in results.models()
    assert results.shown("sft_on_chosen").title == "SFT on the chosen"
    assert results.shown("none").title == "Rank"
