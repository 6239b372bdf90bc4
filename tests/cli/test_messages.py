"""jsonargparse's messages, as it writes them, and what they become."""

import pytest

from modalign.commands.messages import nearest, readable

OPTIONS = ["model", "model.modality", "model.optimizer.lr", "data.batch_size", "data.train", "trainer.max_steps"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Parser key \"trainer.max_steps\":\n  Expected a <class 'int'>. Got value: 1000.0",
            "trainer.max_steps: expected a whole number, got '1000.0'",
        ),
        (
            "Parser key \"model.schedule.shape\":\n  Expected a typing.Literal['constant', 'linear']. Got value: liner",
            "model.schedule.shape: expected one of constant, linear, got 'liner'; did you mean 'linear'?",
        ),
        (
            'Parser key "model.objective":\n\n  - Expected a path but dpoo either not accessible or invalid\n'
            "  - Problem with given class_path 'dpoo':\n    no objective is called 'dpoo'; did you mean 'dpo'?",
            "model.objective: no objective is called 'dpoo'; did you mean 'dpo'?",
        ),
        (
            "Parser key \"model.objective\":\n  Problem with given class_path 'a.b.Sum':\n"
            '    Parser key "objectives.betta":\n    there is no such option; did you mean beta?',
            "model.objective.objectives.betta: there is no such option; did you mean beta?",
        ),
        (
            'Parser key "trainer.precision":\n  Does not validate against any of the Union subtypes\n'
            "  Subtypes: [typing.Literal[64, 32], typing.Literal['bf16'], <class 'NoneType'>]\n  Errors:\n"
            "    - Expected a typing.Literal[64, 32]\n    - Expected a typing.Literal['bf16']\n"
            "    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n  Given value: bf6",
            "trainer.precision: expected one of 64, 32, bf16, got 'bf6'; did you mean 'bf16'?",
        ),
        (
            'Parser key "model.reference":\n  Does not validate against any of the Union subtypes\n  Errors:\n'
            "    - Problem with given class_path 'x':\n        it cannot be imported\n        -> pip install 'x'\n"
            "    - Problem with given class_path 'y':\n        something else\n  Given value: x",
            "model.reference: it cannot be imported\n  -> pip install 'x'",
        ),
        (
            'Parser key "model.optimizer":\n  Type typing.Callable[[collections.abc.Iterable], torch.optim.Optimizer] '
            "expects a function or a callable class: no optimizer is called 'AdmW'. Got value: AdmW",
            "model.optimizer: no optimizer is called 'AdmW'",
        ),
        (
            'Parser key "model.objective":\n  Expected an instantiatable class, but a.b.Objective is abstract',
            "model.objective: no class is named: give a registered name, or class_path with init_args",
        ),
        ("something new", "something new"),
    ],
)
def test_readable(message: str, expected: str) -> None:
    assert str(readable(message)) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("data.batchsize", "did you mean data.batch_size?"),
        ("trainer.train", "did you mean data.train?"),
        ("model.lr", "did you mean model.optimizer.lr?"),
        ("data.zzz", "known: data.batch_size, data.train"),
        ("zzz", "options begin with data, model, trainer"),
        ("model", "options begin with data, model, trainer"),
    ],
)
def test_nearest(key: str, expected: str) -> None:
    assert nearest(key, OPTIONS) == expected


def test_nearest_of_nothing() -> None:
    assert nearest("beta", []) == "there are none here"
