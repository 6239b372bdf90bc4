"""The surrogate: its unit, its precision, and that it is the same however its cells are split."""

import pytest
import torch
from torch import Tensor

from modalign.core.errors import ConfigError
from modalign.modalities.diffusion.draws import RowDraws
from modalign.modalities.diffusion.likelihood import CleanCells, ErrorSettings, denoising_logps
from modalign.modalities.diffusion.noise_process import CosineProcess, RectifiedFlow
from modalign.modalities.diffusion.timesteps import Timesteps
from tests.modalities.diffusion.toy import (
    TinyDenoiser,
    ToyFamily,
    batch_of,
    cells_of,
    linear_epsilon,
    reversed_flow,
)

PLAIN = ErrorSettings(Timesteps())
PROCESSES = {
    "epsilon": linear_epsilon(),
    "cosine v": CosineProcess(),
    "reversed flow": reversed_flow(),
    "flow": RectifiedFlow(shift=2.0, time_scale=1.0),
}


def pairs(rows: int) -> RowDraws:
    return RowDraws.of(batch_of(["chosen", "rejected"], [[True, True]] * rows, range(rows)))


def double(cells: CleanCells) -> CleanCells:
    text = {name: values.double() for name, values in cells.text.items()}
    return CleanCells(cells.mean.double(), None if cells.std is None else cells.std.double(), text)


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 4, 6), (3, 2, 4, 5)])
@pytest.mark.parametrize("name", PROCESSES)
def test_minus_the_mean_square_whatever_the_layout(name: str, shape: tuple[int, ...]) -> None:
    """Against the sum over single numbers, cell by cell."""
    family, denoiser, cells, keys = ToyFamily(PROCESSES[name]), TinyDenoiser(), cells_of(4, shape), pairs(2)
    got = denoising_logps(family, denoiser, cells, keys, PLAIN)
    assert got.dtype == torch.float32
    noise, positions = keys.noise(shape, 0), keys.positions(Timesteps(), family.process.timesteps, 0)
    for n in range(4):
        seen = family.corrupt(cells.mean[n : n + 1], noise[n : n + 1], positions[n : n + 1])
        text = {"length": cells.text["length"][n : n + 1]}
        told = family.predict(denoiser, seen.noisy, seen.time, text, None)
        squares = [(p - t) ** 2 for p, t in zip(told.flatten().tolist(), seen.target.flatten().tolist(), strict=True)]
        assert got[n].item() == pytest.approx(-sum(squares) / len(squares), rel=1e-5)


def test_draws_are_averaged_and_the_first_is_that_of_one() -> None:
    family, denoiser, cells, keys = ToyFamily(CosineProcess()), TinyDenoiser(), cells_of(2), pairs(1)
    one = denoising_logps(family, denoiser, cells, keys, PLAIN)
    two = denoising_logps(family, denoiser, cells, keys, ErrorSettings(Timesteps(), draws=2))
    many = denoising_logps(family, denoiser, cells, keys, ErrorSettings(Timesteps(), draws=400))
    more = denoising_logps(
        family, denoiser, cells, RowDraws([77], 0, keys.cells), ErrorSettings(Timesteps(), draws=400)
    )
    assert (2 * two - one < 0).all(), "the second draw is an error too"
    assert not torch.allclose(one, two)
    torch.testing.assert_close(many, more, rtol=0.1, atol=0)


def test_the_posterior_is_sampled_by_key_and_draw() -> None:
    family, denoiser, keys = ToyFamily(CosineProcess()), TinyDenoiser(), pairs(1)
    certain, spread = cells_of(2), cells_of(2, std=0.5)
    sampled = CleanCells(certain.mean + 0.5 * keys.noise((3, 5), 0, "posterior"), None, certain.text)
    expected = denoising_logps(family, denoiser, sampled, keys, PLAIN)
    torch.testing.assert_close(denoising_logps(family, denoiser, spread, keys, PLAIN), expected, rtol=0, atol=0)
    again = denoising_logps(family, denoiser, spread, keys, PLAIN)
    assert torch.equal(again, expected)
    assert not torch.allclose(denoising_logps(family, denoiser, certain, keys, PLAIN), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_reduced_in_float32(dtype: torch.dtype) -> None:
    """The same weights, rounded: the denoiser may differ from float32 by its own rounding, the reduction adds none."""

    class Rounded(ToyFamily):
        """Computes in float64 what the half-precision denoiser answered exactly."""

        def predict(self, denoiser, noisy, time, text, numbers) -> Tensor:
            self.told = super().predict(denoiser, noisy, time, text, numbers)
            return self.told

    family, denoiser, cells = Rounded(CosineProcess()), TinyDenoiser(dtype=dtype), cells_of(4, (3, 4096))
    cells = CleanCells(100 * cells.mean, None, cells.text)  # squares beyond float16's range
    keys = pairs(2)
    got = denoising_logps(family, denoiser, cells, keys, PLAIN)
    assert got.dtype == torch.float32
    seen = family.corrupt(cells.mean, keys.noise((3, 4096), 0), keys.positions(Timesteps(), 1000, 0))
    expected = -(family.told.double() - seen.target.double()).square().flatten(1).mean(1)
    torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=0)


def test_autocast_leaves_the_reduction_alone() -> None:
    family, denoiser, cells, keys = ToyFamily(CosineProcess()), TinyDenoiser(), cells_of(4), pairs(2)
    with torch.autocast("cpu", torch.bfloat16):
        got = denoising_logps(family, denoiser, cells, keys, PLAIN)
    assert got.dtype == torch.float32
    full = denoising_logps(family, denoiser, cells, keys, PLAIN)
    torch.testing.assert_close(got, full, rtol=0.02, atol=0.01)
    assert not torch.equal(got, full), "the denoiser itself ran in bfloat16"


def test_float64_stays() -> None:
    family, denoiser = ToyFamily(CosineProcess()), TinyDenoiser(dtype=torch.float64)
    for cells in (double(cells_of(2)), cells_of(2)):
        assert denoising_logps(family, denoiser, cells, pairs(1), PLAIN).dtype == torch.float64


@pytest.mark.parametrize("draws", [1, 3])
def test_splits_agree(draws: int) -> None:
    family, denoiser = ToyFamily(CosineProcess()), TinyDenoiser(dtype=torch.float64)
    cells, keys = double(cells_of(6, std=0.1)), pairs(3)
    settings = ErrorSettings(Timesteps("logit_normal"), "min_snr", draws=draws)
    whole = denoising_logps(family, denoiser, cells, keys, settings)
    for part in ([0, 1], [5, 2, 3], [4]):
        got = denoising_logps(family, denoiser, cells.only(torch.tensor(part)), keys.only(part), settings)
        torch.testing.assert_close(got, whole[part], rtol=1e-13, atol=0)


def test_cells_without_gradient() -> None:
    family, denoiser, cells, keys = (
        ToyFamily(CosineProcess()),
        TinyDenoiser(dtype=torch.float64),
        double(cells_of(4)),
        pairs(2),
    )
    free = torch.tensor([False, True, False, True])
    whole = denoising_logps(family, denoiser, cells, keys, PLAIN)
    (expected,) = torch.autograd.grad(whole[~free].sum(), denoiser.mix)
    part = denoising_logps(family, denoiser, cells, keys, PLAIN, free)
    torch.testing.assert_close(part, whole, rtol=1e-13, atol=0)
    (got,) = torch.autograd.grad(part.sum(), denoiser.mix)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)
    calls = []
    denoiser.register_forward_hook(lambda module, inputs, output: calls.append((len(output), output.requires_grad)))
    denoising_logps(family, denoiser, cells, keys, PLAIN, free)
    assert calls == [(2, True), (2, False)]
    calls.clear()
    denoising_logps(family, denoiser, cells, keys, PLAIN, torch.ones(4, dtype=torch.bool))
    with torch.no_grad():
        denoising_logps(family, denoiser, cells, keys, PLAIN, free)
    assert calls == [(4, False), (4, False)]


def test_cells_without_gradient_take_none_from_the_others_under_autocast() -> None:
    """Autocast keeps the weights it has cast; cast and kept without gradient, they would give the others none."""

    class Linear(ToyFamily):
        """Its denoiser is a module whose weights autocast casts."""

        def predict(self, denoiser, noisy, time, text, numbers) -> Tensor:
            return denoiser(noisy)

    family, cells, keys = Linear(CosineProcess()), cells_of(4, (3, 8)), pairs(2)
    torch.manual_seed(0)
    denoiser = torch.nn.Linear(8, 8)
    free = torch.tensor([False, True, False, True])
    found = []
    for without in (None, free):
        with torch.autocast("cpu", torch.bfloat16):
            logps = denoising_logps(family, denoiser, cells, keys, PLAIN, without)
        (gradient,) = torch.autograd.grad(logps[~free].sum(), denoiser.weight)
        found.append(gradient)
    torch.testing.assert_close(found[0], found[1], rtol=1e-2, atol=1e-3)


def test_an_answer_of_another_shape_is_refused() -> None:
    """A network that also predicts its variance answers with twice the channels, and broadcasting could hide it."""

    class Narrow(ToyFamily):
        def predict(self, denoiser, noisy, time, text, numbers) -> Tensor:
            return super().predict(denoiser, noisy, time, text, numbers)[:, :1]

    with pytest.raises(ConfigError, match=r"Narrow predicts \(2, 1, 5\), and \(2, 3, 5\)"):
        denoising_logps(Narrow(CosineProcess()), TinyDenoiser(), cells_of(2), pairs(1), PLAIN)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weighting": "min-snr"}, "min_snr"),
        ({"gamma": 0.0}, "gamma is 0"),
        ({"gamma": 4.0}, "min_snr_gamma is 4.0, and weighting is constant"),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_refused(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ErrorSettings(Timesteps(), **options)
