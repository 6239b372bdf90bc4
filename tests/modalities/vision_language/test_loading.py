"""Loading processors and models: what is refused, what is frozen, and what an adapter is bound to."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modalign.core.batch import PreferenceBatch
from modalign.core.errors import ConfigError, UserError
from modalign.core.objectives.base import Needs
from modalign.modalities.lora import Lora
from modalign.modalities.modes import unwrapped
from modalign.modalities.vision_language.freezing import tower_modules
from modalign.modalities.vision_language.modality import VisionLanguage

from .scenes import pair, picture

MakeFolder = Callable[[str], Path]
Make = Callable[..., VisionLanguage]

LANGUAGE = ("model.language_model.", "model.text_model.", "lm_head.")
TOWERS = {
    "qwen2_vl": {"model.visual"},
    "qwen2_5_vl": {"model.visual"},
    "qwen3_vl": {"model.visual"},
    "qwen3_5": {"model.visual"},
    "idefics3": {"model.vision_model", "model.connector"},
    "smolvlm": {"model.vision_model", "model.connector"},
    "mllama": {"model.vision_model", "model.multi_modal_projector"},
}


@pytest.fixture
def make(vlm_folder: MakeFolder) -> Make:
    """Makes a modality over a tiny model; 512 tokens at most."""

    def modality(family: str = "llava", **options: Any) -> VisionLanguage:
        return VisionLanguage(str(vlm_folder(family)), **{"max_length": 512, **options})

    return modality


@pytest.fixture
def copy_of(vlm_folder: MakeFolder, tmp_path: Path) -> MakeFolder:
    """A copy of a family's folder that a test may spoil."""
    return lambda family: shutil.copytree(vlm_folder(family), tmp_path / family)


def change_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def batch_of(modality: VisionLanguage) -> PreferenceBatch:
    return modality.collate([modality.encode(pair([picture()]))], [0])


def disturb(model: nn.Module) -> None:
    """Move every trainable parameter, as training would."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.ones_like(parameter))


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in unwrapped(model).named_parameters() if parameter.requires_grad}


# What is frozen


def test_the_tower_and_its_projector_are_frozen_and_the_rest_trains(make: Make, family: str) -> None:
    modality = make(family)
    policy = modality.load()
    towers = TOWERS.get(family, {"model.vision_tower", "model.multi_modal_projector"})
    assert set(tower_modules(policy)) == towers
    for name, parameter in policy.named_parameters():
        assert parameter.requires_grad == name.startswith(("model.language_model.", "model.text_model.", "lm_head.")), (
            name
        )
    assert policy.training
    assert not any(policy.get_submodule(name).training for name in towers)
    assert modality.start_notes(None) == (  # type: ignore[arg-type]
        f"{sum(p.numel() for p in policy.parameters() if p.requires_grad):,} of "
        f"{sum(p.numel() for p in policy.parameters()):,} weights train; "
        f"frozen without modality.train_vision: {', '.join(tower_modules(policy))}",
    )


def test_weights_beside_the_tower_are_frozen(make: Make) -> None:
    """LLaVA-NeXT's line break between rows of patches is a weight of the model itself."""
    assert not make("llava_next").load().model.image_newline.requires_grad
    assert make("llava_next", train_vision=True).load().model.image_newline.requires_grad


def test_train_vision_trains_all(make: Make) -> None:
    policy = make(train_vision=True).load()
    assert all(parameter.requires_grad for parameter in policy.parameters())
    assert all(module.training for module in policy.modules())


def test_a_step_changes_the_language_model_alone(make: Make) -> None:
    modality = make()
    policy = modality.load()
    modality.likelihood(policy, batch_of(modality), Needs()).logps.sum().backward()
    moved = {name for name, parameter in policy.named_parameters() if parameter.grad is not None}
    assert moved == trainable(policy)


def test_a_model_without_a_separate_language_model_is_refused(make: Make) -> None:
    policy = make().load()
    policy.get_decoder = lambda: policy.model
    with pytest.raises(UserError, match=r"(?s)cannot be told which part of LlavaForConditional.*train_vision"):
        tower_modules(policy)


# LoRA


def test_lora_binds_every_layer_of_the_language_model_alone(make: Make, family: str) -> None:
    policy = make(family, lora=Lora(r=2)).load()
    bound = {name.split(".lora_")[0] for name in trainable(policy)}
    towers = tuple(tower_modules(unwrapped(policy)))
    assert bound
    assert not any(name.startswith(towers) for name in bound)
    linear = {
        name
        for name, module in make(family).load().named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(towers) and name != "lm_head"
    }
    assert bound == linear


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], r".*\.q_proj"])
def test_names_that_the_tower_has_too_bind_the_language_model(make: Make, targets: Any) -> None:
    bound = trainable(make(lora=Lora(r=2, target_modules=targets)).load())
    assert bound
    assert all(name.startswith("model.language_model.") for name in bound)
    both = trainable(make(train_vision=True, lora=Lora(r=2, target_modules=targets)).load())
    assert any(name.startswith("model.vision_tower.") for name in both)
    assert bound < both


@pytest.mark.parametrize("option", ["target_modules", "modules_to_save"])
def test_naming_a_frozen_module_is_refused(make: Make, option: str) -> None:
    lora = Lora(r=2, **{"target_modules": ["q_proj"], option: ["q_proj", "multi_modal_projector", "linear_1"][2:]})
    with pytest.raises(UserError, match=r"(?s)linear_1' fits .*, which is frozen.*modality\.train_vision"):
        make(lora=lora).load()
    assert trainable(make(train_vision=True, lora=lora).load())


def test_names_that_fit_nothing_are_refused(make: Make) -> None:
    with pytest.raises(UserError, match="no module of LlavaForConditionalGeneration is called 'q_porj'"):
        make(lora=Lora(r=2, target_modules=["q_porj"])).load()


def test_without_its_adapter_a_policy_is_the_model(make: Make) -> None:
    modality = make("qwen2_5_vl", lora=Lora(r=2))
    policy, base = modality.load(), make("qwen2_5_vl").load()
    batch = batch_of(modality)
    expected = modality.likelihood(base, batch, Needs()).logps
    disturb(policy)
    assert not torch.allclose(modality.likelihood(policy, batch, Needs()).logps, expected)
    with modality.adapter_off(policy):
        assert torch.equal(modality.likelihood(policy, batch, Needs()).logps, expected)


def test_an_adapters_folder_is_merged_and_has_its_bases_processor(make: Make, tmp_path: Path) -> None:
    modality = make(lora=Lora(r=2))
    policy = modality.load()
    disturb(policy)
    policy.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    again = VisionLanguage(str(tmp_path / "adapter"), max_length=512)
    batch = batch_of(again)
    torch.testing.assert_close(
        again.likelihood(again.load(), batch, Needs()).logps, modality.likelihood(policy, batch, Needs()).logps
    )


# What is refused


def test_the_constructor_reads_nothing() -> None:
    VisionLanguage("no/such-model")


def test_missing_models_and_processors_are_named(make: Make, vlm_folder: MakeFolder) -> None:
    for name in ("./no-such-folder", "no/such-model"):
        with pytest.raises(UserError, match=name):
            VisionLanguage(name).load()
    with pytest.raises(UserError, match="no-such-processor"):
        make(processor="./no-such-processor").encode(pair())


def test_a_language_model_without_images_is_refused(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)without tokenizer and image_processor.*text modality"):
        VisionLanguage(str(tiny_model)).encode(pair())


def test_a_model_of_another_kind_is_refused(make: Make, tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)is a llama model, which AutoModelForImageTextToText does not load"):
        make().load(str(tiny_model))


def test_a_folder_without_a_processor(copy_of: MakeFolder) -> None:
    folder = copy_of("llava")
    (folder / "processor_config.json").unlink()
    with pytest.raises(UserError, match=r"processor"):
        VisionLanguage(str(folder)).encode(pair())


def test_weights_that_are_not_there_are_refused(copy_of: MakeFolder) -> None:
    folder = copy_of("llava")
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", text_config={**config["text_config"], "num_hidden_layers": 3})
    with pytest.raises(UserError, match=r"lacks 9 of the model's weights, among them model\.language_model\.layers\.2"):
        VisionLanguage(str(folder), max_length=512).load()


def test_max_length_beyond_the_models_positions(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"modality\.max_length is 2048 tokens, but the model takes at most 512"):
        make(max_length=2048).load()


@pytest.mark.parametrize(
    ("family", "file", "values"),
    [
        ("llava", "processor_config.json", {"num_additional_image_tokens": 0}),
        ("llava", "processor_config.json", {"patch_size": 8}),
        ("gemma3", "processor_config.json", {"image_seq_length": 5}),
        ("idefics3", "processor_config.json", {"image_seq_len": 3}),
        ("internvl", "processor_config.json", {"image_seq_length": 3}),
    ],
)
def test_a_processor_that_leaves_other_places_than_the_tower_fills(
    copy_of: MakeFolder, family: str, file: str, values: dict[str, Any]
) -> None:
    folder = copy_of(family)
    change_json(folder / file, **values)
    modality = VisionLanguage(str(folder), max_length=512)
    with pytest.raises(ConfigError, match=r"(?s)gives \d+ features .* leaves \d+ places.*modality\.processor"):
        modality.load()


def test_another_familys_processor_is_refused(make: Make, vlm_folder: MakeFolder) -> None:
    with pytest.raises(UserError, match=r"cannot encode the images of its Qwen2_5_VLProcessor|largest token id"):
        make("llava", processor=str(vlm_folder("qwen2_5_vl"))).load()


# Options


def test_dropout_is_off_in_every_part_and_written_back(copy_of: MakeFolder, tmp_path: Path) -> None:
    folder = copy_of("llava")
    config = json.loads((folder / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part]["attention_dropout"] = 0.25
    (folder / "config.json").write_text(json.dumps(config))
    loaded = VisionLanguage(str(folder), max_length=512, disable_dropout=False).load().config
    assert (loaded.text_config.attention_dropout, loaded.vision_config.attention_dropout) == (0.25, 0.25)
    modality = VisionLanguage(str(folder), max_length=512)
    policy = modality.load()
    assert (policy.config.text_config.attention_dropout, policy.config.vision_config.attention_dropout) == (0, 0)
    modality.export(policy, tmp_path / "export", "card")
    written = json.loads((tmp_path / "export" / "config.json").read_text())
    assert [written[part]["attention_dropout"] for part in ("text_config", "vision_config")] == [0.25, 0.25]
    assert policy.config.text_config.attention_dropout == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_dtype(make: Make, dtype: str) -> None:
    assert {parameter.dtype for parameter in make(dtype=dtype).load().parameters()} == {getattr(torch, dtype)}


def test_attention_implementation(make: Make) -> None:
    policy = make(attn_implementation="eager").load()
    assert policy.config.text_config._attn_implementation == "eager"


@pytest.mark.parametrize("lora", [None, Lora(r=2)])
def test_gradient_checkpointing_changes_no_gradient(make: Make, lora: Lora | None) -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        modality = make("qwen2_5_vl", lora=lora, gradient_checkpointing=checkpointing)
        policy = modality.load()
        disturb(policy)
        modality.likelihood(policy, batch_of(modality), Needs()).logps.sum().backward()
        gradients.append({name: p.grad for name, p in policy.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(value is not None for value in gradients[1].values())
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected)


def test_chat_templates(make: Make, copy_of: MakeFolder, tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{% for p in m['content'] %}"
        "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}|{% endfor %}"
    )
    (tmp_path / "own.jinja").write_text(template)
    modality = make(chat_template=str(tmp_path / "own.jinja"))
    cell = modality.encode(pair([picture()])).cells[0]
    assert modality.tokenizer.decode(cell.prompt).endswith("<image>What is in the image?|")
    folder = copy_of("llava")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match=r"(?s)has no chat template.*modality\.chat_template"):
        VisionLanguage(str(folder)).encode(pair())


def test_a_template_of_the_tokenizer_serves(copy_of: MakeFolder) -> None:
    folder = copy_of("llava")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    modality = VisionLanguage(str(folder))
    modality.__dict__["processor"] = _with_tokenizers_template(folder, template)
    assert "USER:" in modality.tokenizer.decode(modality.encode(pair([picture()])).cells[0].prompt)


def _with_tokenizers_template(folder: Path, template: str) -> Any:
    from transformers import AutoProcessor

    from modalign.modalities.vision_language.processor import set_chat_template

    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.chat_template = template
    set_chat_template(processor, None)
    return processor


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"too_long": "crop"}, r"modality\.too_long is 'crop'"),
        ({"max_image_side": 0}, r"modality\.max_image_side is 0"),
        ({"max_length": 0}, r"modality\.max_length is 0"),
        ({"quantization": "4bit"}, r"modality\.quantization"),
        ({"chunk_size": 0}, r"modality\.chunk_size"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        VisionLanguage("model", **options)


def test_the_pattern_of_frozen_modules_spares_names_that_only_begin_alike() -> None:
    from modalign.modalities.vision_language.freezing import pattern

    expression = pattern(["model.visual", "model.connector"])
    assert re.fullmatch(expression, "model.visual.blocks.0")
    assert re.fullmatch(expression, "model.connector")
    assert not re.fullmatch(expression, "model.visual_tokens")
    assert not re.fullmatch(expression, "xmodel.visual")
