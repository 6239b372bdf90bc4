"""Audiobox-Aesthetics against the package's own predictor, on a tiny model with random weights."""

import math
import pickle
from types import SimpleNamespace

import pytest
import torch

from modalign.core.errors import ConfigError, UserError
from modalign.modalities.audio.clip import Clip
from modalign.modalities.audio.rewards.audiobox_aesthetics import AXES, AudioboxAesthetics
from tests import sounds

pytestmark = [
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask"),
    pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.*"),
]
SHAPE = {
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 2,
    "conv_feature_layers": "[(8,10,5)] + [(8,8,8)] * 2 + [(8,4,4)]",
    "conv_pos": 4,
    "conv_pos_groups": 2,
    "num_buckets": 32,
    "max_distance": 64,
}
HEADS = {
    "proj_num_layer": 1,
    "proj_ln": False,
    "proj_act_fn": "gelu",
    "proj_dropout": 0,
    "nth_layer": 3,
    "use_weighted_layer_sum": True,
    "precision": "32",
    "normalize_embed": True,
    "output_dim": 1,
}


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """The package's model has a single size: here it is a smaller one."""
    from audiobox_aesthetics.model import aes

    patch = pytest.MonkeyPatch()
    patch.setattr(aes, "DEFAULT_AUDIO_CFG", aes.WavLMConfig({**vars(aes.DEFAULT_AUDIO_CFG), **SHAPE}))
    yield aes
    patch.undo()


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """`checkpoint.pt`, and the same weights as a folder of the hub's layout."""
    torch.manual_seed(0)
    scale = {axis: {"mean": 5.0 + number, "std": 1.0 + number / 2} for number, axis in enumerate(AXES)}
    model = tiny.AesMultiOutput(**HEADS, target_transform=scale)
    for parameter in model.proj_layer.parameters():
        parameter.data.mul_(5)
    root = tmp_path_factory.mktemp("aesthetics")
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": weights, "model_cfg": HEADS, "target_transform": scale}, root / "checkpoint.pt")
    model.save_pretrained(root / "folder")
    return root


CLIPS = [sounds.tone(300, 0.5), sounds.noise(1.0), sounds.joined(sounds.noise(10.0), sounds.tone(900, 2.5))]


@pytest.fixture(scope="module")
def expected(folder):
    """What the package's own predictor says of the clips, together."""
    from audiobox_aesthetics.infer import AesPredictor

    predictor = AesPredictor(str(folder / "checkpoint.pt"))
    predictor.device = torch.device("cpu")
    predictor.model.to("cpu")
    return predictor.forward([{"path": clip.samples, "sample_rate": clip.rate} for clip in CLIPS])


@pytest.mark.parametrize("kind", ["checkpoint.pt", "folder"])
def test_every_axis_is_the_packages_own(folder, expected, kind):
    assert max(row["PQ"] for row in expected) - min(row["PQ"] for row in expected) > 1e-2
    for axis in AXES:
        reward = AudioboxAesthetics(str(folder / kind), axis=axis, batch_size=3, device="cpu")
        scores = reward.score([""] * 3, CLIPS)
        assert scores.dtype == torch.float32
        assert scores.tolist() == pytest.approx([row[axis] for row in expected], abs=1e-4)


def test_axes_are_weighed(folder, expected):
    model = str(folder / "checkpoint.pt")
    mean = AudioboxAesthetics(model, device="cpu")
    assert mean.score([""], CLIPS[:1]).item() == pytest.approx(sum(expected[0].values()) / 4, abs=1e-4)
    weighed = AudioboxAesthetics(model, weights={"PQ": 2.0, "PC": -0.5}, device="cpu")
    wanted = 2 * expected[0]["PQ"] - 0.5 * expected[0]["PC"]
    assert weighed.score([""], CLIPS[:1]).item() == pytest.approx(wanted, abs=1e-4)
    copy = pickle.loads(pickle.dumps(weighed))
    assert copy.score([""], CLIPS[:1]).item() == pytest.approx(wanted, abs=1e-4)


def test_sounds_that_cannot_be_heard_are_worst_and_silence_is_judged(folder):
    model = str(folder / "checkpoint.pt")
    broken = [Clip(torch.zeros(1, 0), 16000), Clip(torch.full((1, 90), torch.nan), 16000)]
    assert AudioboxAesthetics(model).score([""] * 2, broken).tolist() == [1, 1]
    assert AudioboxAesthetics(model, weights={"PQ": 2.0, "PC": -0.5}).score([""], broken[:1]).tolist() == [-3]
    quiet = [sounds.silence(0.5), Clip(torch.ones(2, 1), 44100)]
    assert all(math.isfinite(score) for score in AudioboxAesthetics(model, device="cpu").score([""] * 2, quiet))


@pytest.mark.parametrize(
    "options",
    [
        {"axis": "QP"},
        {"axis": "PQ", "weights": {"PQ": 1.0}},
        {"weights": {"QP": 1.0}},
        {"weights": {"PQ": 0.0}},
        {"weights": {}},
        {"batch_size": 0},
    ],
)
def test_options_that_are_unknown_or_without_effect_are_refused(options):
    with pytest.raises(ConfigError):
        AudioboxAesthetics("some/model", **options)


def test_models_that_cannot_be_had_are_named(folder, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "config.json").write_text((folder / "folder" / "config.json").read_text())
    for model, problem in (
        (tmp_path / "none", "no folder"),
        (tmp_path / "other.pt", "cannot be loaded by audiobox_aesthetics"),
        (tmp_path / "text.pt", "cannot be loaded by audiobox_aesthetics"),
        (tmp_path / "lacking", "cannot be loaded by audiobox_aesthetics"),
        ("someone/aesthetics", "not in the local cache"),
    ):
        with pytest.raises(UserError, match=problem):
            AudioboxAesthetics(str(model)).score([""], CLIPS[:1])
    for model, problem in ((tmp_path / "none", "no folder"), ("someone/aesthetics", "not in the local cache")):
        with pytest.raises(UserError, match=problem):  # told before anything is sampled
            AudioboxAesthetics(str(model)).check(SimpleNamespace(name="audio"))
    AudioboxAesthetics(str(tmp_path / "other.pt")).check(SimpleNamespace(name="audio"))
