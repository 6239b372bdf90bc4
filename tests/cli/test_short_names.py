"""Registered names in configs, and the private functions of jsonargparse that they rest on."""

import inspect
from collections.abc import Callable

import pytest
from jsonargparse import ArgumentParser, Namespace, _actions, _typehints
from torch.optim import Optimizer

from modalign.commands import class_change, short_names
from modalign.commands.parsing import prepare_parsing
from modalign.core.callbacks.samples import SampleLog
from modalign.core.objectives.base import Objective
from modalign.core.objectives.pairwise import Dpo
from modalign.core.objectives.reference_free import SimPo
from modalign.core.reward import Reward
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def prepared() -> None:
    prepare_parsing()


def parser() -> ArgumentParser:
    made = ArgumentParser(exit_on_error=False)
    made.add_argument("--objective", type=Objective)
    return made


def test_jsonargparse_still_asks_one_function_for_class_names() -> None:
    """Fails when the function that `short_names` replaces has moved: then find where names are resolved now."""
    assert list(inspect.signature(short_names._resolve).parameters) == ["cls", "name"]
    assert "resolve_class_path_by_name" in inspect.getsource(_typehints.adapt_typehints)
    assert "from ._typehints import" in inspect.getsource(_actions._ActionHelpClassPath)
    assert _typehints.resolve_class_path_by_name is short_names.resolve


def test_jsonargparse_still_asks_one_function_what_to_discard() -> None:
    """Fails when the function that `class_change` replaces has moved: then find what happens to old init_args now."""
    assert list(inspect.signature(class_change._discard).parameters) == ["parser_or_action", "prev_val", "value"]
    assert "discard_init_args_on_class_path_change" in inspect.getsource(_typehints.adapt_class_type)
    assert _typehints.discard_init_args_on_class_path_change is class_change.discard


@pytest.mark.parametrize("name", ["dpo", "Dpo", "modalign.core.objectives.pairwise.Dpo"])
def test_three_ways_to_name_a_class(name: str) -> None:
    parsed = parser().parse_args(["--objective", name, "--objective.beta", "0.3"])
    assert parsed.objective.class_path == "modalign.core.objectives.pairwise.Dpo"
    made = parser().instantiate(parsed).objective
    assert isinstance(made, Dpo)
    assert made.beta == 0.3


def test_names_within_a_dict_of_objects() -> None:
    spec = {"class_path": "sum", "init_args": {"objectives": {"a": "dpo", "b": {"class_path": "simpo"}}}}
    parsed = parser().parse_object({"objective": spec})
    inner = parsed.objective.init_args.objectives
    assert inner["a"].class_path.endswith(".Dpo")
    assert inner["b"].class_path.endswith(".SimPo")


def test_names_within_a_callback() -> None:
    made = ArgumentParser(exit_on_error=False)
    made.add_class_arguments(SampleLog, "samples")
    length = {"class_path": "length", "init_args": {"target": 3}}
    parsed = made.parse_object({"samples": {"sampler": "single", "rewards": {"short": length}}})
    assert parsed.samples.rewards["short"].class_path.startswith("modalign.plugins.rewards.length.")
    assert parsed.samples.sampler.class_path.startswith("modalign.plugins.samplers.")


@pytest.mark.parametrize(
    ("base", "name", "near"),
    [(Objective, "simpl", "'simpo'"), (Reward, "lenght", "'length'"), (Optimizer, "Adm", "'Adam'")],
)
def test_a_misspelt_name_offers_the_nearest(base: type, name: str, near: str) -> None:
    with pytest.raises(ImportError, match=f"'{name}'; did you mean .*{near}"):
        short_names.resolve(base, name)


def test_one_of_several_bases() -> None:
    assert short_names.resolve((Reward, Objective), "dpo").endswith(".Dpo")
    with pytest.raises(ImportError, match="no objective is called"):
        short_names.resolve((Reward, Objective), "nothing")


def change_class(first: dict[str, object], then: list[str]) -> Namespace:
    class_change._told.clear()
    base = parser().parse_object({"objective": first})
    return parser().parse_args(then, namespace=base).objective


def test_a_new_class_starts_from_its_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    changed = change_class({"class_path": "dpo"}, ["--objective", "simpo"])
    assert changed.init_args.beta == SimPo().beta != Dpo().beta
    assert capsys.readouterr().err == ""


def test_what_was_given_is_kept_or_dropped_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"class_path": "dpo", "init_args": {"beta": 0.7, "label_smoothing": 0.2}}
    changed = change_class(given, ["--objective", "ipo"])
    assert changed.init_args.beta == 0.7
    assert "label_smoothing" not in changed.init_args
    assert (
        capsys.readouterr().err
        == "modalign: Dpo was changed to Ipo, which keeps beta=0.7 and drops label_smoothing=0.2\n"
    )


def test_the_same_class_keeps_everything(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"class_path": "dpo", "init_args": {"beta": 0.7}}
    changed = change_class(given, ["--objective", "dpo", "--objective.label_smoothing", "0.1"])
    assert changed.init_args == Namespace(beta=0.7, label_smoothing=0.1)
    assert capsys.readouterr().err == ""


def test_an_untyped_value_builds_nothing() -> None:
    made = ArgumentParser(exit_on_error=False)
    made.add_argument("--anything", type=object)
    spec = {"class_path": "collections.OrderedDict"}
    parsed = made.parse_object({"anything": spec})
    assert made.instantiate(parsed).anything == spec


def test_help_of_a_registered_name(run: Run, folder: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("fit", "--model.objective.help", "simpo")
    assert stopped.value.code == 0
    assert "gamma_beta_ratio" in capsys.readouterr().out
