"""How long a run will be, known before Lightning has opened a loader."""

from lightning.pytorch import Trainer

from modalign.core.errors import ConfigError


def epochs_to_train(trainer: Trainer, batches: int) -> int:
    """How many passes over the training data a run makes at most, the last one perhaps in part.

    Args:
        trainer: With its limits.
        batches: Batches an epoch on this rank, before `limit_train_batches`.

    Raises:
        ConfigError: The run has no end.
    """
    limit = trainer.limit_train_batches
    if limit is not None:
        batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
    steps = -(-batches // int(trainer.accumulate_grad_batches))
    ends: list[int] = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        ends.append(trainer.max_epochs)
    if trainer.max_steps >= 0:
        ends.append(-(-int(trainer.max_steps) // max(steps, 1)))
    if not ends:
        raise ConfigError(
            "A cached reference must know how many epochs there will be.",
            "Set trainer.max_epochs or trainer.max_steps, or use model.reference: frozen.",
        )
    return max(1, min(ends))
