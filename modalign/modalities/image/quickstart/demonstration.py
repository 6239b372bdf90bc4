"""The demonstration from beginning to end."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from time import perf_counter

import torch

from modalign.modalities.image.quickstart.digits import write_digits
from modalign.modalities.image.quickstart.experiment import Aligned, Learned, Task, align, learn
from modalign.modalities.image.quickstart.plan import START, Plan, Policy, policies, smoke_plan
from modalign.modalities.image.quickstart.preference import STATEMENT
from modalign.modalities.image.quickstart.report import print_report, write_grid, write_results
from modalign.modalities.image.quickstart.summary import Results, SeedResult
from modalign.modalities.quickstart.options import QuickstartOptions, Tell
from modalign.modalities.quickstart.stages import write_rows

NEXT_STEPS = """
The pictures that were ranked are in {pictures}.
The aligned model is an ordinary diffusers folder, here without the parts that pixels need not:
  absent = dict.fromkeys(("vae", "safety_checker", "feature_extractor", "image_encoder"))
  pipeline = diffusers.StableDiffusionPipeline.from_pretrained("{aligned}", **absent)
  pixels = pipeline("a seven", height=64, width=64, num_inference_steps={steps}, guidance_scale={guidance},
                    output_type="latent").images  # (1, 3, 8, 8), from -1 to 1
Without a VAE, diffusers counts height and width in units of 8 pixels.
{title} on your own pairs, lines of {{"prompt": ..., "chosen": "a.png", "rejected": "b.png"}}, from Stable Diffusion:
  modalign fit --config {config} --model.modality.model MODEL --data.train PAIRS.jsonl \\
    --model.modality.cache disk --model.optimizer.lr 1e-6 --trainer.accelerator auto \\
    --trainer.default_root_dir runs/mine
"""


def demonstrate(options: QuickstartOptions, methods: Sequence[str], processes: int, tell: Tell) -> None:
    """Run every seed, then print and write what came out.

    Args:
        options: Where to, which seeds, how long.
        methods: Names of the plan's alignments.
        processes: How many trainings run at once; the numbers do not depend on it.
        tell: Shows a line of progress.
    """
    began, folder = perf_counter(), options.folder
    plan = smoke_plan() if options.smoke else Plan()
    digits = write_digits(folder / "digits")
    task = Task(plan, folder, write_rows(digits, folder / "digits.jsonl"))
    trained = policies(plan, methods)
    tell(f"{len(digits)} real digits with captions; {processes} trainings at once")
    tell(f"preference: {STATEMENT}")
    results = Results(task, methods, trained, run_seeds(task, trained, options.seeds, processes, tell))
    print_report(results)
    if options.smoke:
        print("\nThis was a smoke run: it took too few steps for its numbers to mean anything.")
    grid = write_grid(folder / "grid.png", results)
    print(f"\nPictures of the same noise before and after: {grid}")
    write_results(folder / "results.json", results, perf_counter() - began)
    print(_next_steps(results, options.seeds[0]))
    tell(f"done; all numbers, also of each seed, are in {folder / 'results.json'}")


def run_seeds(
    task: Task, trained: Sequence[Policy], seeds: Sequence[int], processes: int, tell: Tell
) -> list[SeedResult]:
    """Learn and align for every seed, several at once, each in a process with one thread.

    The models are so small that more threads would wait for each other.
    """
    found: dict[int, SeedResult] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: set[Future[Learned | Aligned]] = {pool.submit(learn, task, seed) for seed in seeds}
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for result in (future.result() for future in finished):
                if isinstance(result, Learned):
                    found[result.seed] = SeedResult(result, {START: result.measured})
                    waiting |= {pool.submit(align, task, result, policy) for policy in trained}
                else:
                    found[result.seed].measured[result.title] = result.measured
                tell(_about(result))
    return [found[seed] for seed in seeds]


def _about(result: Learned | Aligned) -> str:
    reward = f"reward {result.measured.reward.mean():.3f}"
    if isinstance(result, Aligned):
        return f"seed {result.seed}: {result.title}: {reward}"
    return (
        f"seed {result.seed}: SFT from random weights: {result.measured.fidelity.mean():.0%} of its digits are read as "
        f"asked for, {reward}; {len(result.preferences.train)} ranked lists of its own pictures"
    )


def _next_steps(results: Results, seed: int) -> str:
    task, policy = results.task, results.trained[-1]
    policy = next((each for each in results.trained if each.folder == "dpo"), policy)
    folder = task.seed_folder(seed)
    return NEXT_STEPS.format(
        pictures=folder / "pictures",
        aligned=task.aligned(seed, policy),
        title=policy.title,
        config=folder / policy.folder / "config.yaml",
        steps=task.plan.steps,
        guidance=task.plan.guidance_scale,
    )
