"""Tiny stand-ins for the models and data that recipes name."""

import json
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"
COLOURS = ["red", "green", "blue", "yellow", "white", "black"]
SHORT = ("audio/stable-audio-dpo", "audio/tangoflux-crpo")
"""Recipes whose tiny models have positions for 0.128 seconds."""
SIDE = 16
"""Of the tiny pipelines' pictures, in pixels."""


def rows_for(recipe: str) -> list[dict[str, object]]:
    asked = [(f"Is the {colour} ball number {n} round?", colour, n) for n in range(4) for colour in COLOURS]
    match recipe:
        case "text/sft":
            return [{"prompt": q, "completion": f" Yes, the {colour} one is."} for q, colour, _ in asked]
        case "text/kto":
            return [{"prompt": q, "completion": f" Yes, {n} {colour}.", "label": n % 2 == 0} for q, colour, n in asked]
        case "text/hh-rlhf":
            turn = "\n\nHuman: {}\n\nAssistant: {}"
            return [{"chosen": turn.format(q, "Yes."), "rejected": turn.format(q, f"No, {n}.")} for q, _, n in asked]
        case _:
            return [{"prompt": q, "chosen": f" Yes, {colour}.", "rejected": f" No {n}."} for q, colour, n in asked]


def pictures_for(recipe: str, folder: Path) -> list[dict[str, object]]:
    """Rows whose images are files of single colours in `folder`, not all square."""
    from PIL import Image

    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (SIDE + 2 * number, SIDE + 4), colour).save(folder / f"{colour}.png")
    rows = list[dict[str, object]]()
    for number in range(2 * len(COLOURS)):
        prompt = f"a {COLOURS[number % len(COLOURS)]} photo of {number} dogs"
        shown = [f"{COLOURS[(number + step) % len(COLOURS)]}.png" for step in range(3)]
        if recipe == "image/rankdpo-sdxl":
            judges = {"pick_score": [3.0, 2.0, 1.0], "image_reward": [0.1, -0.2, 0.0], "hps": [0.3, 0.2, 0.1]}
            rows.append({"prompt": prompt, "images": shown, **judges})
        else:
            rows.append({"caption": prompt, "jpg_0": shown[0], "jpg_1": shown[1], "label_0": float(number % 2)})
    return rows


def pictured_for(recipe: str, folder: Path, rows: int = 2 * len(COLOURS)) -> list[dict[str, object]]:
    """Rows about images that are files of single colours in `folder`."""
    from PIL import Image

    for colour in COLOURS:
        Image.new("RGB", (SIDE, SIDE), colour).save(folder / f"{colour}.png")
    return [_pictured_row(recipe, number) for number in range(rows)]


def write_pictured(folder: Path, rows: int) -> Path:
    """A file of pairs of answers about images: prompt, one or two images, chosen, rejected."""
    data = folder / "pictured.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in pictured_for("", folder, rows)))
    return data


def _pictured_row(recipe: str, number: int) -> dict[str, object]:
    """A row of the schema that the recipe's own data has."""
    colour, other = COLOURS[number % len(COLOURS)], COLOURS[(number + 1) % len(COLOURS)]
    question, image = f"What is number {number}?", f"{colour}.png"
    chosen, rejected = f"It is {colour}.", f"It is {other} and round."
    match recipe.removeprefix("vision_language/"):
        case "realign-llava15":
            asked = {"role": "user", "content": f"<image>\n{question}"}
            answers = [[asked, {"role": "assistant", "content": text}] for text in (chosen, rejected)]
            return {"image": image, "retrieved_image": f"{other}.png", "chosen": answers[0], "rejected": answers[1]}
        case "mdpo":
            aspects = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")
            rated = [{aspect: {"Rating": str(rating)} for aspect in aspects} for rating in (4, 2)]
            completions = {"annotations": rated, "response": [chosen, rejected]}
            return {"id": str(number), "prompt": question, "img_path": image, "completions": completions}
        case "mm-dpo":
            scores = {"chosen_score": 2.0 + number, "rejected_score": 1.0}
            return {"prompt": question, "image": image, "chosen": chosen, "rejected": rejected, **scores}
        case "rlhfv-dense":
            text = json.dumps({"question": question, "chosen": chosen, "rejected": rejected})
            names = {"ds_name": "test", "origin_dataset": "test", "origin_split": "{}", "image_path": image}
            return {"image": image, "text": text, "idx": number, **names}
        case "rlaifv-dpo":
            names = {"ds_name": "test", "origin_dataset": "test", "origin_split": "{}", "image_path": image}
            answers = {"chosen": chosen, "rejected": rejected}
            return {"image": image, "question": question, **answers, "idx": number, **names}
        case "smolvlm-lora":
            content = [{"type": "image", "text": None}, {"type": "text", "text": question}]
            answers = {
                role: [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
                for role, text in (("chosen", chosen), ("rejected", rejected))
            }
            return {"images": [image], "prompt": [{"role": "user", "content": content}], **answers}
        case _:  # chest X-rays, some with a second view
            images = [image, f"{other}.png"][: 1 + number % 2]
            return {"prompt": question, "images": images, "chosen": chosen, "rejected": rejected}


def vlm_for(recipe: str) -> str:
    """The name in `tests.tiny_vlms.FAMILIES` of what stands for a vision-language recipe's model."""
    name = recipe.removeprefix("vision_language/")
    if name == "mm-dpo":
        return "llava_onevision"
    return "smolvlm" if name.startswith("smolvlm") else "qwen2_5_vl" if name.startswith("cxr") else "llava"


def pipeline_for(recipe: str) -> str:
    """The name in `tests.tiny_pipelines.PIPELINES` of what stands for an image recipe's model."""
    kinds = {"sd15": "stable_diffusion", "sdxl": "stable_diffusion_xl", "sd3": "stable_diffusion_3", "flux": "flux"}
    (kind,) = [kinds[word] for word in recipe.split("-") if word in kinds]
    return kind


def write_sound_model(recipe: str, folder: Path) -> Path:
    """A tiny model of the classes of an audio recipe's own, in a new folder."""
    from tests.tiny_audio import language, mel, tokens, waveform

    match recipe.removeprefix("audio/"):
        case "tango2":
            return mel.tango(folder)
        case "audioldm2-dpo":
            return mel.audioldm2(folder)
        case "stable-audio-dpo":
            return waveform.stable_audio(folder)
        case "tangoflux-crpo":
            return waveform.tangoflux(folder)
        case "musicgen-dpo":
            return tokens.build("musicgen", folder)
        case _:
            return language.build("qwen2_audio", folder)


def sounding_stand_ins(recipe: str, model: Path, folder: Path) -> list[str]:
    """Options that put a tiny model, and pairs of short sounds or of answers about them, in place of a recipe's own."""
    from tests.sounds import pairs_file, write_jsonl

    data = pairs_file(folder, 12, seconds=0.3)
    options = ["--model.modality.model", str(model)]
    if recipe == "audio/qwen2-audio-dpo":
        paired = [json.loads(line) for line in data.read_text().splitlines()]
        answers = {"prompt": "What is heard?", "rejected": "Nothing."}
        rows = [{**answers, "audio": row["chosen"], "chosen": row["prompt"]} for row in paired]
        data = write_jsonl(folder / "answers.jsonl", rows)
        options += ["--model.modality.max_length", "400"]
    else:
        options += ["--model.modality.seconds", "0.128" if recipe in SHORT else "0.256"]
    if recipe not in ("audio/qwen2-audio-dpo", "audio/musicgen-dpo"):
        options += ["--model.modality.cache_folder", str(folder / "cache")]
        length = ", seconds: 0.1" if recipe in SHORT else ""
        sampling = f"{{steps: 2, guidance_scale: 2.0{length}}}"
        options += ["--trainer.callbacks.init_args.sampler.init_args.options", sampling]
    return [
        *["--config", str(CONFIGS / f"{recipe}.yaml"), "--data.train", str(data), "--data.validation_rows", "2"],
        *[*options, "--data.workers", "0"],
        *["--trainer.default_root_dir", str(folder / "run"), "--trainer.accelerator", "cpu"],
    ]


def stand_ins(recipe: str, model: Path, folder: Path) -> list[str]:
    if recipe.startswith("audio/"):
        return sounding_stand_ins(recipe, model, folder)
    data = folder / "rows.jsonl"
    image, pictured = recipe.startswith("image/"), recipe.startswith("vision_language/")
    rows = pictures_for(recipe, folder) if image else pictured_for(recipe, folder) if pictured else rows_for(recipe)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    size = (
        ["--model.modality.resolution", str(SIDE)]
        if image
        else ["--model.modality.max_length", "400" if pictured else "120"]
    )
    held_out = "2" if image else "4"
    if image:
        size += ["--trainer.callbacks.init_args.sampler.init_args.options", "{steps: 2, guidance_scale: 2.0}"]
    return [
        *["--config", str(CONFIGS / f"{recipe}.yaml"), "--data.train", str(data), "--data.validation_rows", held_out],
        *["--model.modality.model", str(model), *size, "--data.workers", "0"],
        *["--trainer.default_root_dir", str(folder / "run"), "--trainer.accelerator", "cpu"],
    ]
