"""How long one step of DPO takes in each layout of the text modality, and in TRL.

    python benchmarks/text_layouts.py pairs.jsonl

`pairs.jsonl` holds pairs in any format of modalign's (optionally gzipped), such as HH-RLHF's. A step is the forward and
backward pass of one batch through a small Llama with random weights, on the CPU, in float32; the reference's
log-probabilities are computed beforehand on both sides, and no optimiser runs. TRL's step is `DPOTrainer.compute_loss`
on the same model and the same tokens, so tokenisation is timed on neither side. All take turns on every batch.

CPU time counts all threads, and bears other programs on the machine better than the clock does.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset, load_dataset
from torch import Tensor

from modalign.core.batch import CHOSEN, REJECTED, Comparison, Example
from modalign.core.errors import RowError
from modalign.core.objectives.base import Needs
from modalign.core.objectives.pairwise import Dpo
from modalign.modalities.text.collation import LAYOUTS
from modalign.modalities.text.modality import Text
from modalign.modalities.text.scratch import new_model, train_tokenizer
from modalign.plugins.formats.auto import AutoFormat

BETA = 0.1
TRL = "TRL"
Step = Callable[[], Tensor]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    comparisons = _read(options.pairs)
    with tempfile.TemporaryDirectory() as folder:
        texts = [str(text) for c in comparisons for text in (c.prompt, *(each.response for each in c.candidates))]
        tokenizer = train_tokenizer(texts, options.vocabulary)
        tokenizer.save_pretrained(folder)
        model = new_model(tokenizer, options.hidden, options.layers, options.heads, options.max_length)
        model.save_pretrained(folder)
        layouts = {layout: Text(folder, max_length=options.max_length, layout=layout) for layout in LAYOUTS}
        model = layouts["padded"].load()
        batches = _batches(layouts["padded"], comparisons, options.rows, options.batches)
        trainer = _trl_trainer(model, tokenizer, folder)
        measured = [_measure(_steps(layouts, model, trainer, examples), options.repeats) for examples in batches]
    _print_data(batches)
    _print_table([*layouts, TRL], measured)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--rows", type=int, default=8, help="comparisons a batch")
    parser.add_argument("--batches", type=int, default=5, help="how many different batches")
    parser.add_argument("--repeats", type=int, default=5, help="how often each batch is run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    return parser.parse_args()


def _read(path: Path) -> list[Comparison]:
    rows = load_dataset("json", data_files=str(path), split="train")
    format, found = AutoFormat().resolve(rows[0], str(path)), list[Comparison]()
    for row in rows:
        try:
            found.extend(format.parse(row))
        except RowError:
            continue
    return found


def _batches(text: Text, comparisons: Sequence[Comparison], rows: int, count: int) -> list[list[Example]]:
    """Whole rows in the order of the file: those that would be cut are left out, since TRL cuts elsewhere."""

    def whole() -> Any:
        for comparison in comparisons:
            try:
                example = text.encode(comparison)
            except RowError:
                continue
            if not example.truncated:
                yield example

    examples = whole()
    return [list(islice(examples, rows)) for _ in range(count)]


def _steps(layouts: dict[str, Text], model: Any, trainer: Any, examples: Sequence[Example]) -> dict[str, Step]:
    """What is timed, by name; each returns its loss."""
    objective = Dpo(BETA)
    padded = layouts["padded"]
    with torch.no_grad():
        reference = padded.likelihood(model, padded.collate(examples, range(len(examples))), Needs())
    # A reference that is not the policy, so that the loss is not the same constant everywhere.
    reference.logps = reference.logps * torch.linspace(0.9, 1.1, reference.logps.numel()).view_as(reference.logps)

    def ours(text: Text) -> Step:
        batch = text.collate(examples, range(len(examples)))

        def step() -> Tensor:
            loss = objective(text.likelihood(model, batch, objective.needs), reference, batch).loss(batch)
            loss.backward()
            return loss.detach()

        return step

    def theirs() -> Tensor:
        loss = trainer.compute_loss(model, inputs)
        loss.backward()
        return loss.detach()

    inputs = trainer.data_collator([_trl_row(example, reference.logps[n]) for n, example in enumerate(examples)])
    return {**{layout: ours(text) for layout, text in layouts.items()}, TRL: theirs}


def _trl_row(example: Example, reference: Tensor) -> dict[str, Any]:
    chosen, rejected = (example.comparison.roles.index(role) for role in (CHOSEN, REJECTED))
    return {
        "prompt_ids": example.cells[chosen].prompt.tolist(),
        "chosen_ids": example.cells[chosen].completion.tolist(),
        "rejected_ids": example.cells[rejected].completion.tolist(),
        "ref_chosen_logps": reference[0].item(),
        "ref_rejected_logps": reference[1].item(),
    }


def _trl_trainer(model: Any, tokenizer: Any, folder: str) -> Any:
    import trl

    arguments = trl.DPOConfig(
        output_dir=folder,
        beta=BETA,
        max_length=None,
        precompute_ref_log_probs=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
    )
    # The trainer wants rows to start from; those that are timed go through its collator.
    rows = Dataset.from_list([{"prompt": "a", "chosen": " b", "rejected": " c"}])
    return trl.DPOTrainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)


def _measure(steps: dict[str, Step], repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds of CPU time and of the clock, by name."""
    losses = torch.stack([step() for step in steps.values()])  # also warms up
    torch.testing.assert_close(losses, losses[:1].expand_as(losses), atol=1e-4, rtol=1e-4)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            cpu, clock = time.process_time(), time.perf_counter()
            step()
            taken[name].append((time.process_time() - cpu, time.perf_counter() - clock))
    return {
        name: (statistics.median(cpu for cpu, _ in times), statistics.median(clock for _, clock in times))
        for name, times in taken.items()
    }


def _print_data(batches: Sequence[Sequence[Example]]) -> None:
    cells = [cell for examples in batches for example in examples for cell in example.cells]
    prompt, completion = (
        statistics.mean(len(getattr(cell, part)) for cell in cells) for part in ("prompt", "completion")
    )
    print(f"{len(batches)} batches of {len(batches[0])} comparisons; means of {prompt:.0f} prompt tokens and ", end="")
    print(f"{completion:.0f} completion tokens")


def _print_table(names: Sequence[str], measured: Sequence[dict[str, tuple[float, float]]]) -> None:
    """Medians over batches; ratios are taken within a batch."""
    print("| step | CPU ms | clock ms | CPU time / padded | CPU time / TRL |")
    print("|---|---|---|---|---|")
    for name in names:
        cpu, clock = (1000 * statistics.median(batch[name][kind] for batch in measured) for kind in (0, 1))
        ratios = [
            f"{statistics.median(batch[name][0] / batch[other][0] for batch in measured):.2f}"
            for other in ("padded", TRL)
        ]
        print(f"| {name} | {cpu:.0f} | {clock:.0f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
