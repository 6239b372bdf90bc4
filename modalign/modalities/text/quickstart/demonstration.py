"""The demonstration from beginning to end."""

import time
from collections.abc import Sequence
from pathlib import Path

from modalign.modalities.quickstart.options import Tell
from modalign.modalities.quickstart.printing import SMOKE_NOTE
from modalign.modalities.quickstart.stages import one_thread
from modalign.modalities.text.quickstart.experiment import SeedResult, make_task, run_seed
from modalign.modalities.text.quickstart.plan import SMOKE, Plan
from modalign.modalities.text.quickstart.preference import STATEMENT
from modalign.modalities.text.quickstart.report import print_report, write_results

NEXT_STEPS = """
The aligned model is an ordinary transformers folder:
  AutoModelForCausalLM.from_pretrained("{aligned}")
DPO on your own pairs, lines of {{"prompt": ..., "chosen": ..., "rejected": ...}}, from any causal language model:
  modalign fit --config {config} --model.modality.model MODEL --data.train PAIRS.jsonl \\
    --model.modality.max_length 1024 --model.optimizer.lr 1e-6 --model.objective.beta 0.1 \\
    --trainer.accelerator auto --trainer.default_root_dir runs/mine
"""


def demonstrate(folder: Path, seeds: Sequence[int], smoke: bool, tell: Tell) -> None:
    """Run every seed, then print and write what came out.

    Args:
        folder: Where everything is written.
        seeds: At least one; the first also decides the instructions, which all share.
        smoke: Whether to take a few steps only.
        tell: Shows a line of progress.
    """
    began = time.perf_counter()
    with one_thread():
        task = make_task(SMOKE if smoke else Plan(), folder, seeds[0])
        tell(f"{len(task.demonstrations)} answers to {len(task.train)} prompts; {len(task.unseen)} prompts stay unseen")
        tell(f"preference: {STATEMENT}")
        results: list[SeedResult] = []
        for seed in seeds:
            results.append(run_seed(task, folder / f"seed-{seed}", seed, tell))
    print_report(task, results)
    if smoke:
        print(SMOKE_NOTE)
    seconds = time.perf_counter() - began
    write_results(folder / "results.json", task, results, seconds)
    print(NEXT_STEPS.format(aligned=results[0].aligned, config=results[0].folder / "dpo" / "config.yaml"))
    tell(f"done; all numbers, also of each seed, are in {folder / 'results.json'}")
