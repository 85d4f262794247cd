"""The classifiers "nano" and "imagenet": a frozen feature network, and a probe on its features.

They are fitted in seconds, and need no seed and no number of steps. Few images are enough for them. The network is that
of weights/nano, or one trained on ImageNet (evaluate/imagenet.py), which is an extra.
"""
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.images import to_unit_tensor
from ..evaluate.extract import BATCH_SIZE, extract_features
from ..evaluate.features import FeatureNetwork, widths_of
from ..evaluate.imagenet import ImageNetFeatures
from .probe import Probe

FROZEN = ("nano", "imagenet")  # what --network calls them
FEATURES, PROBE = "features.", "probe."  # how the names of its tensors begin
PROBE_TENSORS = ("mean", "std", "weight", "bias")


def probe_features(network: str, teacher: str | None) -> str:
    """The features that --filter alone judges by: those of a frozen --network, or else of its teacher, or else nano."""
    return network if network in FROZEN else teacher or FROZEN[0]


class FrozenClassifier(nn.Module):
    """Images to logits: features, then (features - mean) / std W + b."""

    def __init__(self, features: nn.Module, probe: Probe) -> None:
        super().__init__()
        self.features = features
        self.probe = probe  # on the CPU and float64, which not every GPU knows

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], at their own size -> logits (B, classes), float32."""
        weight, bias = self.probe.linear()
        return self.features(x) @ weight.to(x) + bias.to(x)

    def of_features(self, features: Tensor) -> Tensor:
        """Features (N, d) -> class probabilities (N, classes), float32, on the CPU."""
        return self.probe.probabilities(features.cpu()).float()

    def predict_files(self, files: Sequence[Path]) -> Tensor:
        """Class probabilities (N, classes) of image files, each at its own size."""
        batches = extract_features(files, self.features, to_unit_tensor, BATCH_SIZE, "classifying")
        return torch.cat([self.of_features(batch) for batch in batches])

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, for a file."""
        return {**{FEATURES + name: value.detach().cpu() for name, value in self.features.state_dict().items()},
                **{PROBE + name: getattr(self.probe, name) for name in PROBE_TENSORS}}


def frozen_from(name: str, tensors: Mapping[str, Tensor]) -> FrozenClassifier:
    """The classifier of one of FROZEN that these tensors belong to. The penalty of its probe is not kept.

    Raises UserError if the packages of "imagenet" are not installed.
    """
    own = {key.removeprefix(FEATURES): value for key, value in tensors.items() if key.startswith(FEATURES)}
    network = ImageNetFeatures() if name == "imagenet" else FeatureNetwork(widths_of(own))
    network.load_state_dict(own)
    probe = Probe(**{key: tensors[PROBE + key] for key in PROBE_TENSORS}, penalty=float("nan"))
    return FrozenClassifier(network.requires_grad_(False), probe).eval()
