"""The adapter half of modalities whose policies may carry LoRA through peft."""

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import nn

from modalign.core.errors import UserError
from modalign.core.modality import Modality
from modalign.modalities.lora import without_adapter
from modalign.modalities.modes import is_peft_model


class LoraModality(Modality):
    """Finds a policy's adapter, and switches it off."""

    supports_adapters: ClassVar[bool] = True

    def has_adapter(self, model: nn.Module) -> bool:
        """See `Modality.has_adapter`: LoRA starts as a change of zero, so without it the model is as it was loaded."""
        return is_peft_model(model)

    def adapter_off(self, model: nn.Module) -> AbstractContextManager[Any]:
        """See `Modality.adapter_off`.

        Raises:
            UserError: The model has no adapter.
        """
        if not self.has_adapter(model):
            raise UserError("The policy has no adapter to switch off.", "Set modality.lora, or another reference.")
        return without_adapter(model)
