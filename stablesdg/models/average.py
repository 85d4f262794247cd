"""The exponential moving average of a model's weights."""
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

AVERAGE = "average:"  # how the names of the moving average begin in a checkpoint


@torch.no_grad()
def follow(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """average <- decay * average + (1 - decay) * weights, in place. Counters are copied."""
    for name, value in weights.items():
        average[name].lerp_(value, 1 - decay) if value.is_floating_point() else average[name].copy_(value)


class Averaged:
    """A model beside the exponential moving average of its weights."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def follow(self, decay: float) -> None:
        """Let the average take in the weights of one more step."""
        follow(self.average, self.model.state_dict(), decay)

    def measured(self, evaluate: Callable[[], Mapping[str, Any]]) -> dict[str, float]:
        """evaluate() with the average in the model's place."""
        own = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        row = {name: round(float(value), 5) for name, value in evaluate().items()}
        self.model.load_state_dict(own)
        return row

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint keeps of them. Parameters are themselves: the optimiser's state is found by them."""
        own = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        return {**own, **{f"{AVERAGE}{name}": value for name, value in self.average.items()}}
