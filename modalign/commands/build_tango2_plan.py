"""From the options of `modalign build tango2` to its plan."""

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, cast, get_args

from modalign.commands.generate_identity import files_identity, plain
from modalign.commands.generate_inputs import build, named_values
from modalign.commands.generate_models import open_models
from modalign.commands.generate_prompts import read_prompts
from modalign.core.content import content_hash
from modalign.core.errors import UserError, did_you_mean
from modalign.core.hub import resolve_model
from modalign.core.modality import Modality
from modalign.core.reward import Reward
from modalign.modalities.audio.build.plan import Plan
from modalign.modalities.audio.build.rewriting import INSTRUCTIONS, Change, ModelRewriter, Rewriter, RuleRewriter
from modalign.modalities.audio.build.selection import Thresholds
from modalign.plugins.manager import registry

REWRITES = 2
REWRITERS = ("rules", "model")


def open_plan(options: argparse.Namespace) -> Plan:
    """Resolve the options.

    Raises:
        UserError: One of them names nothing that exists, or nothing that fits the others.
    """
    if options.model and not (options.config or options.modality):
        options.modality = ["audio"]
    # Of a checkpoint or a folder, the policy is what was trained; a config alone describes the model before training.
    options.base = bool(options.config and not options.model)
    sampling = named_values(options.sampling, "--sampling")
    variations = _variations(options.vary, sampling)
    models = open_models(options)
    for variation in variations:
        models.modality.check_sampling({**sampling, **variation})
    reward, judged = _reward(options.reward, models.modality)
    prompts = _texts(read_prompts(options.prompts, options.prompt_column, options.limit, models.modality))
    reward.check_prompts(prompts)
    rewriter, rewrites = _rewriter(options, models.device, prompts)
    (load,) = models.loads.values()
    own = {name: getattr(options, name) for name in ("samples", "strategies", "rewriter", "seed", "losers")}
    own |= {name: getattr(options, name) for name in ("min_score", "min_gap", "max_rejected_score")}
    return Plan(
        folder=options.out.expanduser().absolute(),
        modality=models.modality,
        load=lambda: load(None),
        device=models.device,
        prompts=prompts,
        strategies=options.strategies,
        samples=options.samples,
        variations=variations,
        sampling=sampling,
        rewrites=options.rewrites or REWRITES,
        rewriter=rewriter,
        reward=reward,
        scorer=f"{options.reward[0]} {content_hash(judged)[:8]}",
        thresholds=Thresholds(options.min_score, options.min_gap, options.max_rejected_score, options.losers),
        seed=options.seed,
        described={
            **own,
            **rewrites,
            "rewrites": options.rewrites or REWRITES,
            "sampling": sampling,
            "vary": [dict(each) for each in variations],
            **judged,
            **models.source,
        },
    )


def _variations(words: Sequence[str], sampling: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the values that options are varied over; one empty mapping for none."""
    varied = dict[str, list[Any]]()
    for word in words:
        name, equals, text = word.partition("=")
        values = [named_values([f"{name}={each}"], "--vary")[name] for each in text.split(",") if each]
        if not equals or not values:
            raise UserError(f"--vary {word} names no values", "Write an option and its values: steps=25,50,100.")
        if name in sampling or name in varied:
            raise UserError(f"--vary {word}: {name} is given twice", "Give its values once, in --vary alone.")
        varied[name] = values
    return [dict(zip(varied, values, strict=True)) for values in product(*varied.values())]


def _reward(words: Sequence[str], modality: Modality) -> tuple[Reward, dict[str, Any]]:
    """The reward, and what it is as plain values, its files among them."""
    name, *given = words
    if name not in registry().names("reward"):
        raise UserError(f"no reward is called {name!r}", did_you_mean(name, registry().names("reward")))
    arguments = named_values(given, "--reward")
    described = {"class_path": name, "init_args": arguments}
    reward, parsed = build(Reward, described, "--reward", "Check its options: NAME OPTION=VALUE.")
    reward.check(modality)
    files = {f"reward's {option}": files for option, value in arguments.items() if (files := files_identity(value))}
    return reward, {"reward": plain(parsed), **files}


def _rewriter(options: argparse.Namespace, device: Any, prompts: Sequence[str]) -> tuple[Rewriter, Mapping[str, Any]]:
    """What rewrites captions, and what decides its captions beside its options."""
    name, *given = options.rewriter
    if name not in REWRITERS:
        raise UserError(f"--rewriter is {name!r}", did_you_mean(name, REWRITERS))
    if name == "rules":
        if given:
            raise UserError(f"--rewriter rules has no options: {' '.join(given)}", "Leave them out.")
        return RuleRewriter(prompts), {}
    values = named_values(given, "--rewriter")
    if "model" not in values:
        raise UserError("--rewriter model is not told which model", "Add model=FOLDER_OR_HUB_ID.")
    folder = str(values.pop("model"))
    instructions = {change: str(values.pop(change, INSTRUCTIONS[change])) for change in get_args(Change)}
    modality, described = build(
        Modality,
        {"class_path": "text", "init_args": {"model": folder, "max_length": None}},
        "--rewriter",
        "Check model=FOLDER_OR_HUB_ID.",
    )
    modality.check_sampling(values)
    resolve_model(folder)
    loaded = list[Any]()

    def policy() -> Any:
        if not loaded:
            loaded.append(modality.load().to(device).eval())
        return loaded[0]

    rewriter = ModelRewriter(modality, policy, cast("dict[Change, str]", instructions), values)
    return rewriter, {"rewriter's modality": plain(described), "rewriter's files": files_identity(folder)}


def _texts(prompts: Sequence[Any]) -> list[str]:
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise UserError(f"--prompts: a prompt is no text but of the type {type(prompt).__name__}", "Give captions.")
    return list(prompts)
