"""Losses, gradients and metrics against TRL's own trainers, on one tiny model and the same rows.

TRL computes its loss from its own batch; ours comes from log-probabilities that plain transformers give for that batch.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modalign.core.batch import Likelihood, PreferenceBatch
from modalign.core.objectives.base import Metric, Objective, ObjectiveOutput
from modalign.core.objectives.pairwise import Dpo, Hinge, Ipo, RobustDpo
from modalign.core.objectives.pointwise import Kto
from modalign.core.objectives.reference_free import Cpo, Orpo, SimPo
from modalign.core.objectives.sft import Sft
from modalign.core.objectives.weighted_sum import WeightedSum
from tests.core.objectives.batches import PAIR, make_batch, run

trl = pytest.importorskip("trl")
transformers = pytest.importorskip("transformers")
datasets = pytest.importorskip("datasets")

PROMPTS = ["ab", "hello ", "x y", "1 + 1 = "]
CHOSEN = ["cd", "world", "zz z", "2"]
REJECTED = ["efgh", "wor", "q", "eleven"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Bytes as tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<eos>", "<pad>"]
    bytes_only = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(alphabet)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token="<eos>", pad_token="<pad>")


def make_model(seed: int) -> nn.Module:
    """A random Llama in float64, its weights large enough for log-ratios that matter."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return transformers.LlamaForCausalLM(config).double()


def settings(folder: Path, **options: Any) -> dict[str, Any]:
    common = {"output_dir": str(folder), "report_to": "none", "use_cpu": True, "bf16": False}
    return {**common, "per_device_train_batch_size": 4, "disable_tqdm": True, **options}


def summed_logps(model: nn.Module, ids: Tensor, attention: Tensor, completion: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities summed over completion tokens, and how many these are, by the book."""
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    tokens = logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    counts = completion[:, 1:].bool()
    return torch.where(counts, tokens, 0).sum(dim=1), counts.sum(dim=1).float()


def gradients(loss: Tensor, model: nn.Module) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, list(model.parameters()))])


def shown(metric: Metric) -> float:
    rows = torch.ones(len(metric.values)) if metric.where is None else metric.where.double()
    return float((metric.values * rows).sum() / rows.sum())


def assert_same(
    output: ObjectiveOutput, batch: PreferenceBatch, theirs: Tensor, model: nn.Module, metrics: dict[str, float]
) -> None:
    """Equal to rounding: DPOTrainer and KTOTrainer sum in float32, and ORPOTrainer takes its odds in it."""
    ours = output.loss(batch)
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-6, atol=1e-6)
    expected = gradients(theirs, model)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(gradients(ours, model), expected, rtol=1e-5, atol=1e-6)
    assert {name: shown(output.metrics[name]) for name in metrics} == pytest.approx(metrics, abs=1e-5)


DPO_CASES = [
    ("sigmoid", {}, Dpo(beta=0.3)),
    ("hinge", {}, Hinge(beta=0.3)),
    ("ipo", {}, Ipo(beta=0.3)),
    ("robust", {"label_smoothing": 0.2}, RobustDpo(beta=0.3, label_smoothing=0.2)),
    ("sft", {}, Sft("token")),
    (
        ["sigmoid", "sft"],
        {"loss_weights": [1.0, 0.7]},
        WeightedSum({"dpo": Dpo(beta=0.3), "sft": Sft("token")}, {"sft": 0.7}),
    ),
]


@pytest.mark.parametrize(("loss_type", "options", "objective"), DPO_CASES, ids=[str(case[0]) for case in DPO_CASES])
def test_dpo_trainer(
    tmp_path: Path, tokenizer: Any, loss_type: Any, options: dict[str, Any], objective: Objective
) -> None:
    model, frozen = make_model(0), make_model(1)
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=frozen,
        args=trl.DPOConfig(**settings(tmp_path, beta=0.3, loss_type=loss_type, **options)),
        train_dataset=datasets.Dataset.from_dict({"prompt": PROMPTS, "chosen": CHOSEN, "rejected": REJECTED}),
        processing_class=tokenizer,
    )
    rows = trainer.data_collator([trainer.train_dataset[row] for row in range(4)])
    theirs = trainer.compute_loss(model, rows)

    inputs = rows["input_ids"], rows["attention_mask"], rows["completion_mask"]
    logps, sizes = (stacked.view(2, 4).T for stacked in summed_logps(model, *inputs))
    reference = Likelihood(summed_logps(frozen, *inputs)[0].view(2, 4).T, sizes)
    batch = make_batch(PAIR, sizes)
    output = run(objective, Likelihood(logps, sizes), reference, batch)

    logged = trainer._metrics["train" if model.training else "eval"]
    names = [name for name in output.metrics if name.startswith(("rewards/", "logps/"))]
    assert_same(output, batch, theirs, model, {name: logged[name][-1] for name in names})


@pytest.mark.parametrize("seeds", [(0, 1), (1, 0)], ids=["positive-kl", "negative-kl"])
def test_kto_trainer(tmp_path: Path, tokenizer: Any, seeds: tuple[int, int]) -> None:
    model, frozen = (make_model(seed) for seed in seeds)
    weights = {"beta": 0.3, "desirable_weight": 1.0, "undesirable_weight": 1.33}
    labels = [True, False, False, True]
    trainer = trl.KTOTrainer(
        model=model,
        ref_model=frozen,
        args=trl.KTOConfig(**settings(tmp_path, **weights)),
        train_dataset=datasets.Dataset.from_dict({"prompt": PROMPTS, "completion": CHOSEN, "label": labels}),
        processing_class=tokenizer,
    )
    rows = trainer.data_collator([trainer.train_dataset[row] for row in range(4)])
    theirs = trainer.compute_loss(model, rows)

    def both(of: nn.Module) -> tuple[Tensor, Tensor]:
        parts = [
            summed_logps(of, *(rows[f"{kind}{name}"] for name in ("input_ids", "attention_mask", "completion_mask")))
            for kind in ("", "KL_")
        ]
        (own, own_sizes), (mismatched, mismatched_sizes) = parts
        return torch.stack([own, mismatched], dim=1), torch.stack([own_sizes, mismatched_sizes], dim=1)

    logps, sizes = both(model)
    scores = torch.stack([rows["label"].float(), torch.full((4,), torch.nan)], dim=1)
    batch = make_batch(("candidate", "mismatched"), sizes, scores=scores)
    output = Kto(**weights)(Likelihood(logps, sizes), Likelihood(both(frozen)[0], sizes), batch)

    logged = trainer._metrics["train" if model.training else "eval"]
    assert (logged["kl"][-1] > 0) == (seeds == (0, 1))
    assert_same(output, batch, theirs, model, {name: logged[name][-1] for name in output.metrics})


CPO_CASES = [
    ("sigmoid", {"cpo_alpha": 0.7, "label_smoothing": 0.1}, Cpo(beta=0.3, alpha=0.7, label_smoothing=0.1)),
    ("simpo", {"cpo_alpha": 0.0, "simpo_gamma": 0.12}, SimPo(beta=0.3, gamma_beta_ratio=0.4)),
]


@pytest.mark.parametrize(("loss_type", "options", "objective"), CPO_CASES, ids=["cpo", "simpo"])
def test_cpo_trainer(
    tmp_path: Path, tokenizer: Any, loss_type: str, options: dict[str, Any], objective: Objective
) -> None:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    model = make_model(0)
    config = CPOConfig(**settings(tmp_path, beta=0.3, loss_type=loss_type, max_length=64, **options))
    trainer = CPOTrainer(
        model=model,
        args=config,
        train_dataset=datasets.Dataset.from_dict({"prompt": PROMPTS, "chosen": CHOSEN, "rejected": REJECTED}),
        processing_class=tokenizer,
    )
    rows = trainer.data_collator([trainer.train_dataset[row] for row in range(4)])
    theirs, logged = trainer.get_batch_loss_metrics(model, rows)
    output, batch = reference_free(objective, model, rows)
    assert_same(output, batch, theirs, model, {name: logged[name] for name in output.metrics if "rewards/" in name})


def test_orpo_trainer(tmp_path: Path, tokenizer: Any) -> None:
    """TRL counts the prompt's likelihood too, all but its first token: prompts of one token make both the same."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    model = make_model(0)
    trainer = ORPOTrainer(
        model=model,
        args=ORPOConfig(**settings(tmp_path, beta=0.3, max_length=64)),
        train_dataset=datasets.Dataset.from_dict({"prompt": list("abcd"), "chosen": CHOSEN, "rejected": REJECTED}),
        processing_class=tokenizer,
    )
    rows = trainer.data_collator([trainer.train_dataset[row] for row in range(4)])
    theirs, logged = trainer.get_batch_loss_metrics(model, rows)
    output, batch = reference_free(Orpo(weight=0.3), model, rows)
    names = [name for name in output.metrics if name.startswith(("rewards/", "log_odds"))]
    assert_same(output, batch, theirs, model, {name: logged[name] for name in names})


def reference_free(
    objective: Objective, model: nn.Module, rows: dict[str, Tensor]
) -> tuple[ObjectiveOutput, PreferenceBatch]:
    sides = [
        summed_logps(model, rows[f"{side}_input_ids"], rows[f"{side}_attention_mask"], rows[f"{side}_labels"].ne(-100))
        for side in PAIR
    ]
    logps, sizes = (torch.stack(columns, dim=1) for columns in zip(*sides, strict=True))
    batch = make_batch(PAIR, sizes)
    return objective(Likelihood(logps, sizes), None, batch), batch
