"""Labels drawn by coin."""

from modalign.modalities.quickstart.coins import toss_coins


def test_coins_swap_about_half_of_the_pairs_and_nothing_else() -> None:
    rows = [{"prompt": str(n), "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(400)]
    tossed = toss_coins(rows, 0)
    swapped = sum(new["chosen"] == old["rejected"] for new, old in zip(tossed, rows, strict=True))
    assert 160 < swapped < 240
    for new, old in zip(tossed, rows, strict=True):
        assert new["prompt"] == old["prompt"]
        assert {new["chosen"], new["rejected"]} == {old["chosen"], old["rejected"]}
    assert toss_coins(rows, 0) == tossed != toss_coins(rows, 1)
