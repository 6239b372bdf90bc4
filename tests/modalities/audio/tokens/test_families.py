"""Families: found by the class of a model's configuration, a stranger's too; models that do not fit are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, MusicgenConfig

from modalign.core.errors import UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.audio.tokens.families.dia import Dia
from modalign.modalities.audio.tokens.families.musicgen import MusicGen
from modalign.modalities.audio.tokens.modality import AudioTokens
from modalign.plugins import manager
from modalign.plugins.hookspecs import Register, hookimpl
from tests.sounds import noise, tone
from tests.tiny_audio.tokens import RATE

from .conftest import batch_of, pair

MakeFolder = Callable[[str], Path]


class HumConfig(MusicgenConfig):  # type: ignore[misc]
    model_type = "hum"


class Hum(MusicGen):
    """A stranger's family: built like MusicGen, of a configuration of its own."""

    config_class = "HumConfig"


def installed(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """A plugin that registers a family, as if pip had installed it."""

    @hookimpl
    def modalign_register_token_families(register: Register) -> None:
        register("hum", target, summary="Hums")

    plugin: Any = SimpleNamespace(modalign_register_token_families=modalign_register_token_families)
    found = manager.discover({"hums": plugin})
    monkeypatch.setattr(manager, "registry", lambda: found)


def altered(folder: Path, target: Path, **settings: Any) -> str:
    """A copy of a model's folder, with a configuration of its own."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    for part, values in settings.items():
        config[part] = {**config[part], **values} if isinstance(values, dict) else values
    (target / "config.json").write_text(json.dumps(config))
    return str(target)


def test_a_strangers_family(token_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AutoConfig.register("hum", HumConfig, exist_ok=True)
    installed(monkeypatch, f"{__name__}:Hum")
    modality = AudioTokens(altered(token_folder("musicgen"), tmp_path / "hum", model_type="hum"), cache="off")
    assert type(modality.family) is Hum
    batch = batch_of(modality, [pair("a dog", noise(0.2, RATE), tone(300, 0.1, RATE))])
    usual = AudioTokens(str(token_folder("musicgen")), cache="off")
    found = [each.likelihood(usual.load(), batch, Needs()).logps for each in (modality, usual)]
    assert torch.equal(*found)


def test_a_broken_family_leaves_the_others_working(
    token_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "package_that_is_not:Hum")
    assert type(AudioTokens(str(token_folder("dia"))).family) is Dia
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UserError, match=r"Set aside: .*package_that_is_not") as refusal:
        AudioTokens(str(tmp_path)).load()
    assert "DiaForConditionalGeneration, MusicgenForConditionalGeneration" in str(refusal.value)


def test_codecs_whose_codes_are_not_the_sound(token_folder: MakeFolder, tmp_path: Path) -> None:
    for number, setting in enumerate(({"normalize": True}, {"chunk_length_s": 1.0, "overlap": 0.01})):
        model = altered(token_folder("musicgen"), tmp_path / str(number), audio_encoder=setting)
        with pytest.raises(UserError, match=r"scales sounds or cuts them into chunks \(encodec\)"):
            AudioTokens(model).load()


def test_codecs_of_another_number_of_codebooks(token_folder: MakeFolder, tmp_path: Path) -> None:
    model = altered(token_folder("musicgen"), tmp_path / "two", audio_encoder={"target_bandwidths": [0.4, 0.6]})
    with pytest.raises(UserError, match="makes 2 codes a frame, and its decoder takes 3"):
        AudioTokens(model).codec  # noqa: B018
    codec = tmp_path / "dia" / "codec"
    model = altered(token_folder("dia"), codec.parent)
    named = json.loads((codec.parent / "processor_config.json").read_text())
    named["audio_tokenizer"]["audio_tokenizer_name_or_path"] = altered(codec, tmp_path / "other", n_codebooks=2)
    (codec.parent / "processor_config.json").write_text(json.dumps(named))
    with pytest.raises(UserError, match="makes 2 codes a frame, and the model takes 3"):
        AudioTokens(model).codec  # noqa: B018


def test_a_model_without_its_tokenizer(token_folder: MakeFolder, tmp_path: Path) -> None:
    modality = AudioTokens(altered(token_folder("musicgen"), tmp_path / "model"), cache="off")
    for file in (tmp_path / "model").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match=r"holds none of the expected files: tokenizer_config\.json"):
        modality.encode(pair("a dog", noise(), noise()))


def test_a_processor_that_names_no_codec(token_folder: MakeFolder) -> None:
    modality = AudioTokens(str(token_folder("dia")), processor=str(token_folder("musicgen")))
    with pytest.raises(UserError, match="names no codec"):
        modality.encode(pair("a dog", noise(), noise()))
