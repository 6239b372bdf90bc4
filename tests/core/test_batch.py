"""The layout of a batch."""

import torch

from modalign.core.batch import Candidate, Comparison, Window
from modalign.core.loader import Collate
from modalign.core.order import Pick
from tests.toy import Letters

PAIR = Comparison("k", (Candidate("ae", "chosen"), Candidate("bcd", "rejected")), weight=2.0)
SWAPPED = Comparison("l", (Candidate("fgh", "rejected"), Candidate("e", "chosen")))
THUMB = Comparison("m", (Candidate("xy", score=1.0),))


def batch_of(*comparisons: Comparison):
    modality = Letters()
    return modality.collate([modality.encode(c) for c in comparisons], list(range(len(comparisons))), epoch=3)


def test_columns_are_roles_whatever_the_order_of_candidates() -> None:
    batch = batch_of(PAIR, SWAPPED, THUMB)
    assert batch.roles == ("chosen", "rejected", "candidate")
    assert batch.sizes.tolist() == [[2, 3, 0], [1, 3, 0], [0, 0, 2]]
    assert batch.mask.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert batch.scores[2, 2] == 1.0
    assert torch.isnan(batch.scores[0]).all()
    assert batch.epoch == 3


def test_cells_are_row_major() -> None:
    """Row 1 gave its rejected first; its cells still stand in the order of the columns."""
    batch = batch_of(PAIR, SWAPPED, THUMB)
    lengths = batch.inputs["real"].sum(1).float()
    assert torch.equal(batch.scatter(lengths), batch.sizes)
    assert batch.cells_of(frozenset({"rejected"})).tolist() == [False, True, False, True, False]


def test_scatter_carries_gradients() -> None:
    batch = batch_of(PAIR, THUMB)
    cells = torch.ones(3, requires_grad=True)
    (batch.scatter(cells) * torch.arange(6.0).view(2, 3)).sum().backward()
    assert cells.grad.tolist() == [0, 1, 5]


def test_ranked_lists_share_columns_by_occurrence() -> None:
    ranked = Comparison("k", tuple(Candidate("a" * n, score=float(n)) for n in (1, 2, 3)))
    batch = batch_of(ranked, THUMB)
    assert batch.roles == ("candidate",) * 3
    assert batch.sizes.tolist() == [[1, 2, 3], [2, 0, 0]]


def test_window_sums_weights_and_sizes() -> None:
    window = Window.of([batch_of(PAIR, SWAPPED), batch_of(PAIR)])
    assert window.weight == 5.0
    assert window.sizes == {"chosen": 2 * 2 + 1 + 2 * 2, "rejected": 2 * 3 + 3 + 2 * 3}


def test_moving_keeps_everything() -> None:
    batch = batch_of(PAIR)
    moved = batch.to("meta")
    assert moved.inputs["ids"].device.type == "meta"
    assert moved.weight.device.type == "meta"
    assert (moved.roles, moved.epoch) == (batch.roles, batch.epoch)


def test_tensors_move_wherever_they_lie() -> None:
    batch = batch_of(PAIR)
    batch.inputs["images"] = [{"pixels": torch.ones(2), "name": "a"}, {}]
    batch.inputs["pairs"] = (torch.ones(1), (0, torch.ones(1)))
    moved = batch.to("meta").inputs
    assert moved["images"][0]["pixels"].device.type == moved["pairs"][1][1].device.type == "meta"
    assert (moved["images"][0]["name"], moved["images"][1], moved["pairs"][1][0]) == ("a", {}, 0)
    assert batch.inputs["images"][0]["pixels"].device.type == "cpu"


def test_cells_nobody_reads_are_left_out() -> None:
    collate = Collate(Letters(), roles=frozenset({"chosen"}))
    batch = collate([(Pick(i), Letters().encode(c)) for i, c in enumerate((PAIR, SWAPPED))])
    assert batch.roles == ("chosen",)
    assert batch.sizes.tolist() == [[2], [1]]
    assert len(batch.inputs["ids"]) == 2
    assert batch.weight.tolist() == [2.0, 1.0]
