"""Registers the image modality: families of diffusion models, data formats and rewards."""

from modalign.plugins.hookspecs import Register, hookimpl

_HOME = "modalign.modalities.image"


@hookimpl
def modalign_register_modalities(register: Register) -> None:
    register(
        "image",
        f"{_HOME}.modality:Image",
        summary="Diffusion and flow models of images: Stable Diffusion, SDXL, SD3, FLUX, in full or by LoRA",
        extra="image",
    )


@hookimpl
def modalign_register_families(register: Register) -> None:
    families = f"{_HOME}.families"
    register("stable_diffusion", f"{families}.stable_diffusion:StableDiffusion", summary="1.x, 2.x", extra="image")
    register("stable_diffusion_xl", f"{families}.stable_diffusion_xl:StableDiffusionXl", summary="SDXL", extra="image")
    register("stable_diffusion_3", f"{families}.stable_diffusion_3:StableDiffusion3", summary="3, 3.5", extra="image")
    register("flux", f"{families}.flux:Flux", summary="FLUX.1", extra="image")


@hookimpl
def modalign_register_formats(register: Register) -> None:
    formats = f"{_HOME}.formats"
    register(
        "pick_a_pic", f"{formats}.pick_a_pic:PickAPic", summary="Pick-a-Pic v1, v2: jpg_0, jpg_1, label_0, caption"
    )
    register("hpd", f"{formats}.hpd:Hpd", summary="HPDv2 and HPDv3 JSON: pairs and rankings")
    register("image_reward_db", f"{formats}.image_reward_db:ImageRewardDb", summary="ImageRewardDB groups and pairs")
    register("image_pairs", f"{formats}.image_pairs:ImagePairs", summary="prompt, chosen and rejected images")
    register("image_ranked", f"{formats}.image_ranked:ImageRanked", summary="prompt, images with scores or ranks")
    register("image_thumbs", f"{formats}.image_thumbs:ImageThumbs", summary="prompt, image, label: thumbs up or down")
    register("image_captions", f"{formats}.image_captions:ImageCaptions", summary="prompt, image: for sft")


@hookimpl
def modalign_register_rewards(register: Register) -> None:
    rewards = f"{_HOME}.rewards"
    register("clip_score", f"{rewards}.clip_score:ClipScore", summary="CLIP's agreement with the prompt", extra="image")
    register("brightness", f"{rewards}.pixels:Brightness", summary="Mean luminance", extra="image")
    register("colorfulness", f"{rewards}.pixels:Colorfulness", summary="Hasler and Suesstrunk's measure", extra="image")
    register("compressibility", f"{rewards}.pixels:Compressibility", summary="Minus the JPEG size", extra="image")
