"""Networks that recognise defects: built and used. Five are the paper's (section IV-A); training.py trains them.

Images are uint8 tensors (N, 3, S, S) wherever they enter. S is 200 pixels, unless --side chose another side. Two more
classifiers, "nano" and "imagenet", are frozen features and a probe (frozen.py). They take images at their own size.
"""
import functools
import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..data.images import read_image
from ..models.convolution import quicken_tiny_maps
from ..storage.errors import UserError
from ..storage.tensors import load_state_dict
from .frozen import FrozenClassifier

NETWORKS = {"alexnet": "alexnet", "vgg": "vgg16", "resnet": "resnet18", "squeezenet": "squeezenet1_1",
            "densenet": "densenet121"}  # to torchvision's names
OUTPUT_LAYERS = ("classifier.", "fc.")  # how the names of their parameters begin
HEAD = "head.weight"  # of an Imitator
IMAGE_SIDE = 200  # pixels, the paper's
PREDICTION_BATCH_SIZE = 64
MOST_DECODED = 20_000  # images in memory
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of red, green and blue, as torchvision's pretrained weights expect
IMAGENET_STD = (0.229, 0.224, 0.225)

State = dict[str, Tensor]


# ---- networks ---------------------------------------------------------------------------------------------------


def build(network: str, classes: int, pretrained: str | Path | None = None, imitated: int | None = None) -> nn.Module:
    """A network with `classes` outputs, random or started from a local state dict.

    imitated  how many features of another network it learns to give (imitation.py); None: it learns classes

    An output layer of another size in that file is left out. Raises UserError if the file belongs to another network.
    """
    if imitated:
        return Imitator(build(network, imitated, pretrained), imitated, classes)
    model = getattr(torchvision.models, NETWORKS[network])(num_classes=classes)
    if pretrained:
        start_from(model, read_state_dict(Path(pretrained)), pretrained, NETWORKS[network])
    if network in ("alexnet", "vgg"):
        model.avgpool = AdaptivePool(model.avgpool.output_size)
    quicken_tiny_maps(model)
    return model


class Imitator(nn.Module):
    """A network that gives d features, and a linear layer that makes logits of them."""

    def __init__(self, features: nn.Module, d: int, classes: int) -> None:
        super().__init__()
        if isinstance(features, torchvision.models.SqueezeNet):
            features.classifier[2] = nn.Identity()  # its last ReLU: features are negative, too
        self.features = features
        self.head = nn.Linear(d, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, S, S), normalised -> logits (B, classes)."""
        return self.head(self.features(x))


def start_from(model: nn.Module, read: State, file: str | Path, name: str) -> None:
    """Load what was read of a file into torchvision's network `name`, all but an output layer of another size.

    Raises UserError if that belongs to another network.
    """
    wanted = model.state_dict()
    tensors = {k: v for k, v in wanted.items() if k.endswith("num_batches_tracked")} | read
    unlike = [k for k in wanted if k not in tensors or tensors[k].shape != wanted[k].shape]
    unknown = [k for k in tensors if k not in wanted]
    if wrong := [k for k in unlike + unknown if not k.startswith(OUTPUT_LAYERS)]:
        raise UserError(f"{file} is not a state dict of torchvision's {name}: {wrong[0]} differs.")
    model.load_state_dict({k: wanted[k] if k in unlike else tensors[k] for k in wanted})


def read_state_dict(path: Path) -> State:
    """The tensors of a .safetensors, .pth or .pt file, by the names that torchvision's modules have."""
    return {torchvision_name(k): v for k, v in load_state_dict(path).items()}


def torchvision_name(name: str) -> str:
    """A model trained in parallel puts module. before each name. DenseNet's released file writes norm.1 for norm1."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name.removeprefix("module."))


class AdaptivePool(nn.Module):
    """torch.nn.AdaptiveAvgPool2d as two matrix products.

    On Apple GPUs, PyTorch has the former only where the input's size is a multiple of the output's. At 200 pixels,
    AlexNet pools 5 to 6, and VGG-16 6 to 7.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, *size)."""
        rows, columns = (F.adaptive_avg_pool1d(torch.eye(n)[None], m)[0].to(x) for n, m in zip(x.shape[-2:], self.size))
        return rows.T @ x @ columns


# ---- images -----------------------------------------------------------------------------------------------------


def decode(file: Path, side: int = IMAGE_SIDE) -> Tensor:
    """Read an image and resize it: uint8 (3, side, side)."""
    image = read_image(file)[0]
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(side, side, 3).permute(2, 0, 1)


@functools.lru_cache(maxsize=MOST_DECODED)
def decode_once(file: Path, changed: int, side: int) -> Tensor:
    """The same, kept in memory until the file's time of change `changed` is another."""
    return decode(file, side)


def load_images(files: Sequence[Path], side: int = IMAGE_SIDE) -> Tensor:
    """uint8 (N, 3, side, side). Each file is decoded once, however many seeds train on it."""
    return torch.stack([decode_once(file, file.stat().st_mtime_ns, side) for file in files])


def normalise(x: Tensor) -> Tensor:
    """Values 0..255, uint8 or float -> zero mean and unit variance by ImageNet's statistics."""
    mean, std = imagenet_statistics(x.device)
    return (x.float() / 255 - mean) / std


def denormalise(x: Tensor) -> Tensor:
    """What `normalise` gives -> images in [0, 1]."""
    mean, std = imagenet_statistics(x.device)
    return (x * std + mean).clamp(0, 1)


def imagenet_statistics(device: torch.device) -> list[Tensor]:
    """Mean and deviation (1, 3, 1, 1) of ImageNet's images."""
    return [torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)]


def layout(device: torch.device | str) -> torch.memory_format:
    """Channels last makes convolutions faster on CPUs and CUDA."""
    return torch.contiguous_format if torch.device(device).type == "mps" else torch.channels_last


# ---- use ------------------------------------------------------------------------------------------------------------


def predict(model: nn.Module, x: Tensor, device: torch.device | str) -> Tensor:
    """Class probabilities (N, classes) of uint8 images x (N, 3, S, S)."""
    return outputs(model, x, device).softmax(dim=1)


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor, device: torch.device | str) -> Tensor:
    """What the model gives of uint8 images x (N, 3, S, S), float32, on the CPU: logits (N, classes) or features."""
    model.eval()
    batches = (normalise(batch.to(device)) for batch in x.split(PREDICTION_BATCH_SIZE))
    return torch.cat([model(batch.contiguous(memory_format=layout(device))).float().cpu() for batch in batches])


def predict_files(model: nn.Module, files: Sequence[Path], device: torch.device | str,
                  batch_size: int = PREDICTION_BATCH_SIZE, side: int | None = IMAGE_SIDE) -> Tensor:
    """Class probabilities (N, classes) of image files. No more than a batch is in memory at a time."""
    if isinstance(model, FrozenClassifier):
        return model.predict_files(files)
    batches = [files[i:i + batch_size] for i in range(0, len(files), batch_size)]
    bar = tqdm(batches, unit="batch", desc="classifying", leave=False, disable=None)
    return torch.cat([predict(model, torch.stack([decode(file, side or IMAGE_SIDE) for file in batch]), device)
                      for batch in bar])
