"""Folders, hub ids and mistakes, told apart before any library is asked."""

from pathlib import Path

import pytest

from modalign.core.errors import UserError
from modalign.core.hub import resolve_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "models" / "llama"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    return model


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_folder_is_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in (str(folder), "llama", "./llama", "~/llama"):
        assert resolve_model(name) == str(folder)


@pytest.mark.parametrize("name", ["./lama", "/models/lama", "models/lama/8b", "~/lama", "lama/"])
def test_a_missing_folder_is_called_that(name: str) -> None:
    with pytest.raises(UserError, match=f"There is no folder '{name}'"):
        resolve_model(name)


def test_folders_of_a_similar_name_are_told(folder: Path) -> None:
    with pytest.raises(UserError, match=rf"Beside it: '{folder}'"):
        resolve_model(str(folder.parent / "lama"))
    with pytest.raises(UserError, match=r"parent .* does not exist either"):
        resolve_model(str(folder.parent / "absent" / "lama"))


def test_a_folder_without_a_model(folder: Path) -> None:
    with pytest.raises(UserError, match=r"none of the expected files: config\.json, adapter_config\.json"):
        resolve_model(str(folder.parent))
    with pytest.raises(UserError, match="is a file"):
        resolve_model(str(folder / "config.json"))


@pytest.mark.usefixtures("offline")
def test_an_unknown_hub_id_offline() -> None:
    with pytest.raises(UserError, match=r"'organisation/model' is not a folder .* HF_HUB_OFFLINE=1"):
        resolve_model("organisation/model")


@pytest.mark.usefixtures("offline")
def test_a_cached_hub_id_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: "/cache/config.json")
    assert resolve_model("organisation/model") == "organisation/model"


def test_a_hub_id_online_is_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert resolve_model("organisation/model") == "organisation/model"


@pytest.mark.parametrize("name", ["", "  ", "a b", "what?", "a--b"])
def test_what_is_neither(name: str) -> None:
    with pytest.raises(UserError, match=r"is empty|neither an existing folder .* nor a valid hub id"):
        resolve_model(name)
