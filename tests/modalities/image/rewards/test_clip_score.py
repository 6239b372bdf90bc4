"""CLIP scores against the models' own forward passes, on tiny models with random weights."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modalign.core.errors import ConfigError, UserError
from modalign.core.media import Media
from modalign.modalities.image.rewards.clip_score import ClipScore
from tests.tiny_pipelines import clip_tokenizer

SIDE, LONGEST = 16, 12
PROMPTS = ["a red circle", "a blue square", "a red circle", "dog"]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def pictures(width=SIDE, height=SIDE, count=4):
    generator = np.random.default_rng(3)
    return [Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)) for _ in range(count)]


def as_tensor(images):
    values = torch.stack([torch.tensor(np.asarray(image), dtype=torch.float32) / 255 for image in images])
    return ((values - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def transformers_folder(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        **small,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": LONGEST,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**small, "image_size": SIDE, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(4).add_(0.01)  # Random vectors of the usual scale hardly differ between images.
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    CLIPProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def open_clip_folder(tmp_path_factory):
    import open_clip

    torch.manual_seed(0)
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": LONGEST, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    model = open_clip.CLIP(**config)
    folder = tmp_path_factory.mktemp("open_clip")
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    return folder


def expected_of_transformers(folder, images):
    from transformers import CLIPModel

    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), clip_tokenizer()
    tokens = tokenizer(PROMPTS, padding="max_length", max_length=LONGEST, return_tensors="pt")
    with torch.no_grad():
        logits = model(pixel_values=as_tensor(images), **tokens).logits_per_image.diagonal()
    return logits, model.logit_scale.exp().item()


def expected_of_open_clip(folder, images):
    import open_clip

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(PROMPTS)
    with torch.no_grad():
        image, text, scale = model.eval()(as_tensor(images), tokens)
    return scale * (image * text).sum(-1), scale.item()


@pytest.fixture(params=["transformers", "open_clip"])
def clip(request):
    folder = request.getfixturevalue(f"{request.param}_folder")
    expected = expected_of_transformers if request.param == "transformers" else expected_of_open_clip
    return {"model": str(folder), "backend": request.param}, lambda images: expected(folder, images)


def test_scores_are_the_models_own_cosines(clip):
    options, expected = clip
    images = pictures()
    logits, scale = expected(images)
    cosines = logits / scale
    assert cosines.std() > 1e-3
    for size in (1, 3, 16):
        scores = ClipScore(**options, batch_size=size).score(PROMPTS, images)
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, cosines, atol=1e-5, rtol=0)
    torch.testing.assert_close(ClipScore(**options, scale="logit").score(PROMPTS, images), logits, atol=1e-4, rtol=1e-5)
    hessel = ClipScore(**options, scale="hessel").score(PROMPTS, images)
    torch.testing.assert_close(hessel, 2.5 * cosines.clamp(min=0), atol=1e-5, rtol=0)
    percent = ClipScore(**options, scale="percent").score(PROMPTS, images)
    torch.testing.assert_close(percent, 100 * cosines.clamp(min=0), atol=1e-3, rtol=0)
    assert ClipScore(**options).score([], []).shape == (0,)


def test_files_and_odd_shapes_are_preprocessed_as_the_model_wants(clip, tmp_path):
    options, expected = clip
    wide = pictures(width=24)
    # The shorter side has the right length already, so that only the middle is cut out.
    middle = [image.crop((4, 0, 20, 16)) for image in wide]
    logits, scale = expected(middle)
    files = []
    for number, image in enumerate(wide):
        image.save(tmp_path / f"{number}.png")
        files.append(Media(str(tmp_path / f"{number}.png")))
    torch.testing.assert_close(ClipScore(**options).score(PROMPTS, files), logits / scale, atol=1e-5, rtol=0)


def test_prompts_that_are_too_long_are_cut_and_counted(clip):
    options, _ = clip
    reward = ClipScore(**options)
    fits = " ".join(["red"] * (LONGEST - 2))
    long = fits + " blue dog"
    image = pictures(count=1) * 4
    reward.score([fits], image[:1])
    assert reward.cut == 0
    with pytest.warns(UserWarning, match=r"2 of 4 prompts are longer than the 12 tokens"):
        scores = reward.score([fits, long, "dog", long], image)
    assert reward.cut == 2
    torch.testing.assert_close(scores[1], scores[0])
    reward.score([long], image[:1])
    assert reward.cut == 3


def test_half_precision_is_near_and_copies_score_the_same(clip):
    options, _ = clip
    images = pictures()
    reward = ClipScore(**options)
    scores = reward.score(PROMPTS, images)
    assert torch.equal(pickle.loads(pickle.dumps(reward)).score(PROMPTS, images), scores)
    torch.testing.assert_close(ClipScore(**options, dtype="bfloat16").score(PROMPTS, images), scores, atol=0.1, rtol=0)


def test_images_that_are_not_square_can_be_padded(open_clip_folder):
    options = {"model": str(open_clip_folder), "backend": "open_clip"}
    wide = pictures(width=32)
    scores = {resize: ClipScore(**options, resize=resize).score(PROMPTS, wide) for resize in ("shortest", "longest")}
    assert (scores["shortest"] - scores["longest"]).abs().max() > 1e-4
    assert torch.equal(ClipScore(**options).score(PROMPTS, wide), scores["shortest"])


def test_weights_of_an_architecture_may_be_a_file(open_clip_folder, tmp_path, monkeypatch):
    import open_clip

    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    config = json.loads((open_clip_folder / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny.json")
    weights = open_clip.factory.load_state_dict(str(open_clip_folder / "model.safetensors"))
    torch.save({"state_dict": weights}, tmp_path / "weights.pt")
    whole = ClipScore(str(open_clip_folder), "open_clip").score(PROMPTS, pictures())
    apart = ClipScore("tiny", "open_clip", weights=str(tmp_path / "weights.pt")).score(PROMPTS, pictures())
    torch.testing.assert_close(apart, whole)
    with pytest.raises(UserError, match="no weights are given"):
        ClipScore("tiny", "open_clip").score(PROMPTS, pictures())
    with pytest.raises(UserError, match="cannot be loaded by open_clip"):
        ClipScore("tiny", "open_clip", weights=str(tmp_path / "other.pt")).score(PROMPTS, pictures())
    with pytest.raises(UserError, match="no architecture 'tinny'"):
        ClipScore("tinny", "open_clip", weights=str(tmp_path / "weights.pt")).score(PROMPTS, pictures())


def test_the_processor_may_be_elsewhere(transformers_folder, tmp_path):
    from transformers import CLIPModel

    CLIPModel.from_pretrained(transformers_folder).save_pretrained(tmp_path / "weights")
    apart = ClipScore(str(tmp_path / "weights"), processor=str(transformers_folder))
    whole = ClipScore(str(transformers_folder))
    torch.testing.assert_close(apart.score(PROMPTS, pictures()), whole.score(PROMPTS, pictures()))
    with pytest.raises(UserError, match="cannot be loaded"):
        ClipScore(str(tmp_path / "weights")).score(PROMPTS, pictures())


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "openclip"},
        {"scale": "percents"},
        {"dtype": "float8"},
        {"batch_size": 0},
        {"resize": "crop", "backend": "open_clip"},
        {"resize": "longest"},
        {"weights": "a.pt"},
        {"processor": "a", "backend": "open_clip"},
        {"revision": "main", "backend": "open_clip"},
    ],
)
def test_options_that_are_unknown_or_without_effect_are_refused(options):
    with pytest.raises(ConfigError):
        ClipScore("some/model", **options)


def test_models_that_cannot_be_had_are_named(open_clip_folder, tmp_path):
    for model, backend, problem in (
        (str(tmp_path / "none"), "transformers", "no folder"),
        (str(tmp_path / "none"), "open_clip", "no folder"),
        (str(tmp_path), "open_clip", "open_clip_config.json"),
        (str(open_clip_folder), "transformers", "holds a model of open_clip"),
        ("someone/clip", "transformers", "not in the local cache"),
    ):
        with pytest.raises(UserError, match=problem) as caught:
            ClipScore(model, backend).score(PROMPTS, pictures())
        assert caught.value.cure


def test_another_kind_of_model_is_refused(tmp_path):
    from transformers import BertConfig

    BertConfig(hidden_size=8).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="model of type 'bert'"):
        ClipScore(str(tmp_path)).score(PROMPTS, pictures())


def test_prompts_are_text(transformers_folder):
    with pytest.raises(UserError, match="prompt of type list"):
        ClipScore(str(transformers_folder)).score([["a"]], pictures(count=1))
