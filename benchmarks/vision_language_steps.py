"""How long one step of DPO takes on a Qwen2.5-VL whose images are encoded once, and in TRL.

    python benchmarks/vision_language_steps.py

The model is small and has random weights; images are noise. A step is the forward and backward pass of policy and
reference over one batch, on the CPU, in float32; no optimiser runs. TRL's step is `DPOTrainer.compute_loss` on the same
weights and the same tokens. Preparing is what comes before: from pictures and text to tensors. With `--lora` the
reference is the policy without its adapter, else a second model. All take turns on every batch.

CPU time counts all threads, and bears other programs on the machine better than the clock does.
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset
from PIL import Image

from modalign.core.batch import CHOSEN, REJECTED, Candidate, Comparison, PreferenceBatch
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.lora import Lora
from modalign.modalities.text.scratch import train_tokenizer
from modalign.modalities.vision_language.modality import VisionLanguage
from modalign.modalities.vision_language.prompts import question

BETA = 0.1
PATCH = 14
OURS, TRL = "modalign", "TRL"
IMAGE_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = "a the red green blue circle square triangle one two three four stands lies left right of above below"
Times = dict[str, tuple[float, float]]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    batches = [_pairs(options, number) for number in range(options.batches)]
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder) / "model", options)
        modality = VisionLanguage(
            str(Path(folder) / "model"),
            max_length=None,
            train_vision=options.train_vision,
            lora=Lora(r=8, alpha=16.0) if options.lora else None,
        )
        policy = modality.load()
        reference = None if options.lora else modality.load().requires_grad_(False)
        trainer = _trl_trainer(modality, policy, folder)
        measured = [_measure(modality, policy, reference, trainer, pairs, options.repeats) for pairs in batches]
    cell = modality.encode(batches[0][0]).cells[0]
    print(f"{options.rows} pairs a batch; {len(cell.prompt)} prompt and {len(cell.completion)} completion tokens")
    _print_table(measured)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4, help="pairs a batch, each with an image of its own")
    parser.add_argument("--image-size", type=int, default=224, help="pixels a side; 28 of them are a token's side")
    parser.add_argument("--words", type=int, default=24, help="of a response")
    parser.add_argument("--batches", type=int, default=3, help="how many different batches")
    parser.add_argument("--repeats", type=int, default=5, help="how often each batch is run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vision-hidden", type=int, default=256)
    parser.add_argument("--vision-layers", type=int, default=4)
    parser.add_argument("--train-vision", action="store_true")
    parser.add_argument("--lora", action="store_true")
    return parser.parse_args()


def _pairs(options: argparse.Namespace, number: int) -> list[Comparison]:
    generator, words = torch.Generator().manual_seed(number), WORDS.split()

    def sentence() -> str:
        return " ".join(words[n] for n in torch.randint(len(words), (options.words,), generator=generator).tolist())

    def pair() -> Comparison:
        pixels = torch.randint(256, (options.image_size, options.image_size, 3), generator=generator, dtype=torch.uint8)
        candidates = (Candidate(sentence(), CHOSEN), Candidate(sentence(), REJECTED))
        return Comparison(question("What is shown?", [Image.fromarray(pixels.numpy())]), candidates)

    return [pair() for _ in range(options.rows)]


def _write_model(folder: Path, options: argparse.Namespace) -> None:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = train_tokenizer([WORDS] * 2, 512)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *IMAGE_TOKENS]})
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS))
    heads = options.hidden // 64
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": options.hidden,
        "intermediate_size": 2 * options.hidden,
        "num_hidden_layers": options.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 12, 12]},
    }
    vision = {
        "depth": options.vision_layers,
        "hidden_size": options.vision_hidden,
        "intermediate_size": 2 * options.vision_hidden,
        "num_heads": options.vision_hidden // 64,
        "out_hidden_size": options.hidden,
        "fullatt_block_indexes": [options.vision_layers - 1],
    }
    tokens = {
        "vision_start_token_id": start,
        "vision_end_token_id": end,
        "image_token_id": image,
        "video_token_id": video,
    }
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens))
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(patch_size=PATCH),
        tokenizer,
        Qwen2VLVideoProcessor(patch_size=PATCH),
        chat_template=TEMPLATE,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _measure(
    modality: VisionLanguage, policy: Any, reference: Any, trainer: Any, pairs: Sequence[Comparison], repeats: int
) -> dict[str, Times]:
    ready, preparing = _taking_turns(
        {OURS: lambda: _collated(modality, pairs), TRL: lambda: _collated_by_trl(trainer, pairs)}, repeats
    )
    batch, inputs = ready[OURS], ready[TRL]
    with torch.no_grad():
        logps = modality.likelihood(policy, batch, Needs()).logps
    torch.testing.assert_close(logps, torch.stack(trainer.compute_ref_log_probs(trainer.model, inputs), 1))
    _, steps = _taking_turns(
        {OURS: lambda: _step(modality, policy, reference, batch), TRL: lambda: _step_of_trl(trainer, inputs)}, repeats
    )
    return {"preparing": preparing, "step": steps}


def _collated(modality: VisionLanguage, pairs: Sequence[Comparison]) -> PreferenceBatch:
    return modality.collate([modality.encode(pair) for pair in pairs], range(len(pairs)))


def _step(modality: VisionLanguage, policy: Any, reference: Any, batch: PreferenceBatch) -> None:
    objective = Dpo(BETA)
    # A batch is seen once in training: what a tower made of it is not at hand for the next step.
    batch.inputs.pop("encoded", None)
    with torch.no_grad(), modality.adapter_off(policy) if reference is None else nullcontext():
        known = modality.likelihood(policy if reference is None else reference, batch, Needs())
    objective(modality.likelihood(policy, batch, objective.needs), known, batch).loss(batch).backward()


def _collated_by_trl(trainer: Any, pairs: Sequence[Comparison]) -> Any:
    rows = []
    for pair in pairs:
        image, text = pair.prompt[0]["content"]
        responses = {each.role: [{"role": "assistant", "content": each.response}] for each in pair.candidates}
        rows.append({"images": [image["image"]], "prompt": [{"role": "user", "content": text["text"]}], **responses})
    return trainer.data_collator(rows)


def _step_of_trl(trainer: Any, inputs: Any) -> None:
    trainer.compute_loss(trainer.model, dict(inputs)).backward()


def _trl_trainer(modality: VisionLanguage, policy: Any, folder: str) -> Any:
    import trl
    from transformers import AutoModelForImageTextToText

    arguments = trl.DPOConfig(
        output_dir=folder,
        beta=BETA,
        max_length=None,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
    )
    model, other = (AutoModelForImageTextToText.from_pretrained(modality.model) for _ in range(2))
    trained = {name for name, weight in policy.named_parameters() if weight.requires_grad}
    adapter = copy.deepcopy(policy.peft_config["default"]) if modality.lora is not None else None
    if adapter is None:
        for name, weight in model.named_parameters():
            weight.requires_grad_(name in trained)
    # The trainer wants rows to start from; those that are timed go through its collator.
    image = Image.new("RGB", (2 * PATCH, 2 * PATCH))
    rows = Dataset.from_list([{"images": [image], "prompt": "a", "chosen": " b", "rejected": " c"}])
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=None if adapter else other,
        args=arguments,
        train_dataset=rows,
        processing_class=modality.processor,
        peft_config=adapter,
    )
    if (ours := len(trained)) != (theirs := sum(weight.requires_grad for weight in trainer.model.parameters())):
        raise SystemExit(f"modalign trains {ours} weights and TRL {theirs}: what they take cannot be compared.")
    return trainer


def _taking_turns(steps: dict[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, Any], Times]:
    """What each returns, and median seconds of CPU time and of the clock."""
    results = {name: step() for name, step in steps.items()}  # also warms up
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            cpu, clock = time.process_time(), time.perf_counter()
            step()
            taken[name].append((time.process_time() - cpu, time.perf_counter() - clock))
    medians = {
        name: (statistics.median(cpu for cpu, _ in times), statistics.median(clock for _, clock in times))
        for name, times in taken.items()
    }
    return results, medians


def _print_table(measured: Sequence[dict[str, Times]]) -> None:
    """Medians over batches; ratios are taken within a batch."""
    print("| | CPU ms | clock ms | CPU time / TRL | clock / TRL |")
    print("|---|---|---|---|---|")
    for what in measured[0]:
        batches = [batch[what] for batch in measured]
        for name in (OURS, TRL):
            times = [f"{1000 * statistics.median(batch[name][kind] for batch in batches):.0f}" for kind in (0, 1)]
            ratios = [
                f"{statistics.median(batch[name][kind] / batch[TRL][kind] for batch in batches):.2f}" for kind in (0, 1)
            ]
            print(f"| {what}, {name} | {' | '.join([*times, *ratios])} |")


if __name__ == "__main__":
    main()
