"""Registers the text modality and its commands."""

from modalign.plugins.hookspecs import Register, hookimpl


@hookimpl
def modalign_register_modalities(register: Register) -> None:
    register(
        "text",
        "modalign.modalities.text.modality:Text",
        summary="Causal language models: any AutoModelForCausalLM, in full or by LoRA",
        extra="text",
    )


@hookimpl
def modalign_register_commands(register: Register) -> None:
    register(
        "scratch",
        "modalign.modalities.text.scratch_command:main",
        summary="Make a small language model with random weights and a tokenizer of its own from text files",
        extra="text",
    )
