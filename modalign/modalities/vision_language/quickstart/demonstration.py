"""The demonstration from beginning to end."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from time import perf_counter

import torch

from modalign.modalities.quickstart.options import QuickstartOptions, Tell
from modalign.modalities.vision_language.quickstart.experiment import Aligned, Learned, Task, align, learn
from modalign.modalities.vision_language.quickstart.plan import START, Plan, Policy, policies, smoke_plan
from modalign.modalities.vision_language.quickstart.preference import STATEMENT
from modalign.modalities.vision_language.quickstart.report import print_report, write_results, write_sheet
from modalign.modalities.vision_language.quickstart.scenes import PROMPT
from modalign.modalities.vision_language.quickstart.summary import Results, SeedResult
from modalign.modalities.vision_language.quickstart.world import make_world

NEXT_STEPS = """
The pictures are in {pictures}, what is in each in {scenes}.
The aligned model is an ordinary transformers folder:
  model = transformers.AutoModelForImageTextToText.from_pretrained("{aligned}")
  processor = transformers.AutoProcessor.from_pretrained("{aligned}")
  chat = [{{"role": "user", "content": [{{"type": "image", "path": "{picture}"}},
                                      {{"type": "text", "text": "{prompt}"}}]}}]
  inputs = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True,
                                         return_tensors="pt")
  said = processor.decode(model.generate(**inputs, max_new_tokens=40)[0, inputs["input_ids"].shape[1]:])
{title} on your own pairs, lines of {{"image": ..., "retrieved_image": ..., "prompt": ..., "chosen": ...,
"rejected": ...}}, as `modalign build realign` writes them:
  modalign fit --config {config} --model.modality.model MODEL --data.train PAIRS.jsonl \\
    --model.modality.max_length 2048 --model.objective.beta 0.1 --model.optimizer.lr 1e-6 \\
    --trainer.accelerator auto --trainer.default_root_dir runs/mine
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
    task = Task(plan, folder, make_world(plan, folder, options.seeds[0]))
    trained = policies(plan, methods)
    tell(f"{plan.pictures} pictures of known scenes; {processes} trainings at once")
    tell(f"preference: {STATEMENT}")
    results = Results(task, methods, trained, run_seeds(task, trained, options.seeds, processes, tell))
    print_report(results)
    if options.smoke:
        print("\nThis was a smoke run: it took too few steps for its numbers to mean anything.")
    sheet = write_sheet(folder / "descriptions.png", results)
    print(f"\nUnseen pictures with descriptions before and after: {sheet}")
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
    measured = result.measured
    numbers = f"{measured.rate:.0%} of what it names is not there, recall {measured.recall:.0%}"
    if isinstance(result, Aligned):
        return f"seed {result.seed}: {result.title}: {numbers}"
    return (
        f"seed {result.seed}: SFT from random weights: {numbers}; {len(result.pairs.train)} pairs of its own "
        "descriptions"
    )


def _next_steps(results: Results, seed: int) -> str:
    task = results.task
    policy = next((each for each in results.trained if each.folder == "rdpo"), results.trained[-1])
    return NEXT_STEPS.format(
        pictures=task.folder / "pictures",
        scenes=task.folder / "scenes.jsonl",
        aligned=task.aligned(seed, policy),
        picture=task.folder / task.world.unseen[0].path,
        prompt=PROMPT,
        title=policy.title,
        config=task.seed_folder(seed) / policy.folder / "config.yaml",
    )
