"""The module without its own data module."""

from pathlib import Path

from lightning.pytorch import LightningDataModule, Trainer
from torch.optim import SGD

from modalign import PreferenceModule
from modalign.core.loader import BatchLoader
from modalign.core.objectives.pairwise import Dpo
from tests.toy import Letters, Pairs


class OwnData(LightningDataModule):
    """A user's, which knows nothing of comparisons."""

    def train_dataloader(self) -> BatchLoader:
        modality = Letters()
        rows = [{"prompt": "a", "chosen": "eio", "rejected": "bcd"}, {"prompt": "b", "chosen": "u", "rejected": "zz"}]
        examples = [modality.encode(comparison) for row in rows for comparison in Pairs().parse(row)]
        return BatchLoader(lambda epoch, start: [(0, modality.collate(examples, [0, 1], epoch))])


def test_a_data_module_of_the_users_own_trains(tmp_path: Path) -> None:
    module = PreferenceModule(Letters(), Dpo(), optimizer=lambda parameters: SGD(parameters, lr=0.1))
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=OwnData())
    assert trainer.global_step == 2
