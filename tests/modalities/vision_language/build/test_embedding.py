"""Images as vectors: by a CLIP model, by each family's own vision tower; kept on disk, computed once."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modalign.core.errors import ConfigError, UserError
from modalign.core.media import Media
from modalign.modalities.image.decoding import picture_key
from modalign.modalities.vision_language.build import embedding as embedding_module
from modalign.modalities.vision_language.build.embedders import Embedder, PolicyEmbedder, check_embedder, open_embedder
from modalign.modalities.vision_language.build.embedding import Embedding
from modalign.modalities.vision_language.modality import VisionLanguage
from tests.modalities.vision_language.build.scenes import scene
from tests.tiny_vlms import build
from tests.toy import Letters

CPU = torch.device("cpu")


class Means(Embedder):
    """The mean of each colour, and a count of the pictures it was given."""

    def __init__(self) -> None:
        self.seen = 0

    def vectors(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        self.seen += len(pictures)
        return torch.stack([torch.tensor(np.asarray(picture).mean((0, 1))) for picture in pictures])


def pictures(count: int, side: int = 32) -> list[Image.Image]:
    draw = Random(0)
    return [scene(draw, side)[0] for _ in range(count)]


def written(folder: Path, count: int) -> tuple[list[Media], list[str]]:
    folder.mkdir()
    for number, picture in enumerate(pictures(count)):
        picture.save(folder / f"{number}.png")
    files = [Media(str(folder / f"{number}.png")) for number in range(count)]
    return files, [picture_key(file) for file in files]


def test_clip_gives_the_models_own_vectors(clip_folder: Path) -> None:
    from transformers import CLIPModel, CLIPProcessor

    embedder = open_embedder("clip", {"model": str(clip_folder)}, Letters(), lambda: torch.nn.Linear(1, 1), CPU)
    shown = pictures(3)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    pixels = CLIPProcessor.from_pretrained(clip_folder).image_processor(shown, return_tensors="pt")
    with torch.no_grad():
        states = model.vision_model(**pixels).pooler_output
        torch.testing.assert_close(embedder.vectors(shown), model.visual_projection(states))


def test_open_clip_gives_the_models_own_vectors(open_clip_folder: Path) -> None:
    import open_clip

    embedder = open_embedder(
        "open_clip", {"model": str(open_clip_folder)}, Letters(), lambda: torch.nn.Linear(1, 1), CPU
    )
    shown = pictures(3)
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{open_clip_folder}")
    with torch.no_grad():
        expected = model.eval().encode_image(torch.stack([preprocess(picture) for picture in shown]))
        torch.testing.assert_close(embedder.vectors(shown), expected)


def test_the_policys_vector_is_the_mean_of_what_its_language_model_sees(llava_folder: Path) -> None:
    modality = VisionLanguage(str(llava_folder), max_length=256)
    policy = modality.load()
    shown = pictures(3)
    pixels = modality.processor.image_processor(shown, return_tensors="pt")["pixel_values"]
    core = policy.model
    with torch.no_grad():
        states = core.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        expected = core.multi_modal_projector(states).mean(1)
        torch.testing.assert_close(PolicyEmbedder(modality, lambda: policy).vectors(shown), expected)


def test_every_family_embeds_a_picture_alike_alone_and_among_others(family: str, tmp_path: Path) -> None:
    modality = VisionLanguage(str(build(family, tmp_path / family)), max_length=256)
    policy = modality.load()
    embedder = PolicyEmbedder(modality, lambda: policy)
    shown = [*pictures(2), pictures(1)[0].resize((64, 32))]
    with torch.no_grad():
        together = embedder.vectors(shown)
        alone = torch.cat([embedder.vectors([picture]) for picture in shown])
    assert together.shape[0] == 3
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).norm() > 1e-3 * together[0].norm()


def test_vectors_have_length_one_and_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_module, "PART", 4)
    files, keys = written(tmp_path / "files", 10)
    first = Means()
    vectors = Embedding(tmp_path / "kept", first, "means", 3).vectors(files, keys)
    assert first.seen == 10
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    again = Means()
    np.testing.assert_array_equal(Embedding(tmp_path / "kept", again, "means", 3).vectors(files, keys), vectors)
    assert again.seen == 0
    longer = Means()
    Embedding(tmp_path / "kept", longer, "means", 3).vectors(files[:8], keys[:8])
    assert longer.seen == 0
    other = Means()
    Embedding(tmp_path / "kept", other, "other means", 3).vectors(files, keys)
    assert other.seen == 10


def test_a_part_that_is_missing_or_damaged_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_module, "PART", 4)
    files, keys = written(tmp_path / "files", 10)
    vectors = Embedding(tmp_path / "kept", Means(), "means", 3).vectors(files, keys)
    parts = sorted((tmp_path / "kept").iterdir())
    assert len(parts) == 3
    parts[0].unlink()
    parts[1].write_bytes(parts[1].read_bytes()[:-5])
    again = Means()
    np.testing.assert_array_equal(Embedding(tmp_path / "kept", again, "means", 3).vectors(files, keys), vectors)
    assert again.seen in (6, 8)


def test_what_cannot_be_decoded_has_no_vector(tmp_path: Path) -> None:
    files, keys = written(tmp_path / "files", 3)
    Path(files[1].path).write_bytes(b"no image")
    vectors = Embedding(tmp_path / "kept", Means(), "means", 2).vectors(files, keys)
    assert np.isnan(vectors[1]).all()
    assert np.isfinite(vectors[[0, 2]]).all()
    with pytest.raises(UserError, match="None of the images can be decoded"):
        Embedding(tmp_path / "kept", Means(), "means", 2).vectors(files[1:2], keys[1:2])


def test_options_that_no_embedder_takes_are_refused() -> None:
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("polcy", {}, "did you mean 'policy'"),
        ("policy", {"model": "m"}, "has no option 'model'"),
        ("clip", {"weights": "w", "model": "m"}, "has no option 'weights'"),
        ("open_clip", {}, "needs a model"),
    ]
    for kind, options, message in wrong:
        with pytest.raises(ConfigError, match=message):
            check_embedder(kind, options, Letters())
    with pytest.raises(ConfigError, match="needs a vision tower, and the modality is 'letters'"):
        open_embedder("policy", {}, Letters(), lambda: torch.nn.Linear(1, 1), CPU)
