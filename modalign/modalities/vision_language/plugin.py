"""Registers the vision-language modality: image variants, data formats and evaluation tasks."""

from modalign.plugins.hookspecs import Register, hookimpl

_HOME = "modalign.modalities.vision_language"
_EXTRA = "vision-language"


@hookimpl
def modalign_register_modalities(register: Register) -> None:
    register(
        "vision_language",
        f"{_HOME}.modality:VisionLanguage",
        summary="Models that answer prompts with images: any AutoModelForImageTextToText, in full or by LoRA",
        extra=_EXTRA,
    )


@hookimpl
def modalign_register_image_variants(register: Register) -> None:
    variants = f"{_HOME}.variants"
    register("retrieved", f"{variants}.retrieved:Retrieved", summary="The data's own other image (Re-Align, SymMPO)")
    register("cropped", f"{variants}.cropped:Cropped", summary="A small random crop, scaled up (mDPO)", extra=_EXTRA)
    register("noised", f"{variants}.noised:Noised", summary="A step of forward diffusion (POVID)", extra=_EXTRA)
    register("black", f"{variants}.black:Black", summary="No image: every pixel 0 (V-DPO)", extra=_EXTRA)
    register("swapped", f"{variants}.swapped:Swapped", summary="The image of another row", extra=_EXTRA)


@hookimpl
def modalign_register_formats(register: Register) -> None:
    formats = f"{_HOME}.formats"
    register("vision_preference", f"{formats}.vision_preference:VisionPreference", summary="TRL's vision schema")
    register(
        "vision_demonstration",
        f"{formats}.vision_demonstration:VisionDemonstration",
        summary="Responses to prompts with images: for sft",
    )
    register(
        "vision_unpaired",
        f"{formats}.vision_unpaired:VisionUnpaired",
        summary="Single responses to prompts with images, with a good-or-bad label",
    )
    register("rlhf_v", f"{formats}.rlhf_v:RlhfV", summary="RLHF-V: image, and text that is JSON")
    register("rlaif_v", f"{formats}.rlaif_v:RlaifV", summary="RLAIF-V, SPA-VL: image, question, chosen, rejected")
    register("vlfeedback", f"{formats}.vlfeedback:VlFeedback", summary="VLFeedback: four answers with ratings")
    register("mm_rlhf", f"{formats}.mm_rlhf:MmRlhf", summary="MM-RLHF: pairs with scores")
    register("povid", f"{formats}.povid:Povid", summary="POVID: conversations, rejected_conversations")
    register("ha_dpo", f"{formats}.ha_dpo:HaDpo", summary="HA-DPO: descriptions of images, yes/no questions")
    register("realign", f"{formats}.realign:Realign", summary="Re-Align: image, retrieved_image, chosen, rejected")
    register("symmpo", f"{formats}.symmpo:SymMpo", summary="SymMPO: two images with their answers")
    register("llava", f"{formats}.llava:Llava", summary="LLaVA conversations: for sft")
    register("sharegpt", f"{formats}.sharegpt:ShareGpt", summary="ShareGPT conversations with a ranked pair")


@hookimpl
def modalign_register_tasks(register: Register) -> None:
    tasks = f"{_HOME}.tasks"
    register("pope", f"{tasks}.pope:Pope", summary="Yes/no questions on objects: accuracy, F1, yes-ratio", extra=_EXTRA)
    register("chair", f"{tasks}.chair:Chair", summary="Objects that descriptions invent, by a given list", extra=_EXTRA)
