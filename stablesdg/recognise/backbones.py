"""The frozen networks whose features a baseline stands on: nano's, ImageNet's if it is installed, or a file's."""
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from ..data.images import to_unit_tensor
from ..evaluate.extract import FeatureExtractor, nano_extractor, network_key
from ..evaluate.imagenet import has_imagenet, imagenet_extractor
from ..storage.errors import UserError
from .classifiers import NETWORKS, build, normalise, read_state_dict, start_from


class Trunk(nn.Module):
    """What a torchvision classifier has before its last layers, frozen and pooled."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        resnet = isinstance(model, models.ResNet)
        self.layers = nn.Sequential(*list(model.children())[:-2]) if resnet else model.get_submodule("features")
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], at their own size -> (B, d)."""
        return F.relu(self.layers(normalise(255 * x))).mean(dim=(2, 3))


def file_extractor(file: Path, device: torch.device | str) -> FeatureExtractor:
    """The features of a torchvision state dict, whichever of the known networks it belongs to.

    Raises UserError if it belongs to none of them, or cannot be read.
    """
    if not file.is_file():
        raise UserError(f"There is no file {file}: pass a state dict of torchvision, for example "
                        "squeezenet1_1-b8a52dc0.pth.")
    tensors = read_state_dict(file)
    for name in NETWORKS:
        model = build(name, 2)
        try:
            start_from(model, tensors, file, NETWORKS[name])
        except UserError:
            continue
        trunk = Trunk(model).to(device)
        return FeatureExtractor(f"{file.name} ({NETWORKS[name]})", trunk, to_unit_tensor, network_key(name, trunk),
                                f"FD-{name}")
    raise UserError(f"{file} is a state dict of none of torchvision's {', '.join(NETWORKS.values())}: pass one of "
                    "these, as torchvision publishes it.")


def open_extractors(file: Path | None, device: torch.device | str) -> list[FeatureExtractor]:
    """All extractors that there are on this machine."""
    further = [file_extractor(file, device)] if file else [imagenet_extractor(device)] if has_imagenet() else []
    return [nano_extractor(device), *further]
