"""The demonstration from beginning to end."""

from functools import partial
from time import perf_counter

from modalign.modalities.quickstart.method_options import MethodOptions
from modalign.modalities.quickstart.options import Tell
from modalign.modalities.quickstart.policies import policies
from modalign.modalities.quickstart.printing import SMOKE_NOTE
from modalign.modalities.quickstart.seeds import Aligned, Learned, run_seeds
from modalign.modalities.vision_language.quickstart.experiment import Task, align, learn
from modalign.modalities.vision_language.quickstart.measurement import Measured
from modalign.modalities.vision_language.quickstart.plan import TITLES, Plan, smoke_plan
from modalign.modalities.vision_language.quickstart.preference import STATEMENT, Pairs
from modalign.modalities.vision_language.quickstart.report import print_report, write_results, write_sheet
from modalign.modalities.vision_language.quickstart.scenes import PROMPT
from modalign.modalities.vision_language.quickstart.summary import Results
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


def demonstrate(options: MethodOptions, tell: Tell) -> None:
    """Run every seed, then print and write what came out."""
    began, folder = perf_counter(), options.folder
    plan = smoke_plan() if options.smoke else Plan()
    task = Task(folder, plan, make_world(plan, folder, options.seeds[0]))
    trained = policies(plan.imitate, plan.align, TITLES, options.methods)
    tell(f"{plan.pictures} pictures of known scenes; {options.processes} trainings at once")
    tell(f"preference: {STATEMENT}")
    seeds = run_seeds(partial(learn, task), partial(align, task), trained, options, _about, tell)
    results = Results(task, options.methods, trained, seeds)
    print_report(results)
    if options.smoke:
        print(SMOKE_NOTE)
    sheet = write_sheet(folder / "descriptions.png", results)
    print(f"\nUnseen pictures with descriptions before and after: {sheet}")
    write_results(folder / "results.json", results, perf_counter() - began)
    print(_next_steps(results, options.seeds[0]))
    tell(f"done; all numbers, also of each seed, are in {folder / 'results.json'}")


def _about(result: Learned[Pairs, Measured] | Aligned[Measured]) -> str:
    measured = result.measured
    numbers = f"{measured.rate:.0%} of what it names is not there, recall {measured.recall:.0%}"
    if isinstance(result, Aligned):
        return f"seed {result.seed}: {result.title}: {numbers}"
    return (
        f"seed {result.seed}: SFT from random weights: {numbers}; {len(result.preferences.train)} pairs of its own "
        "descriptions"
    )


def _next_steps(results: Results, seed: int) -> str:
    task, policy = results.task, results.shown("rdpo")
    return NEXT_STEPS.format(
        pictures=task.folder / "pictures",
        scenes=task.folder / "scenes.jsonl",
        aligned=task.aligned(seed, policy),
        picture=task.folder / task.world.unseen[0].path,
        prompt=PROMPT,
        title=policy.title,
        config=task.seed_folder(seed) / policy.folder / "config.yaml",
    )
