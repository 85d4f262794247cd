"""Networks that recognise defects: built, used and saved. Five are the paper's (section IV-A); training.py trains them.

Images are uint8 tensors (N, 3, S, S) wherever they enter. S is 200 pixels, unless --side chose another side. Two more
classifiers, "nano" and "imagenet", are frozen features and a probe (frozen.py). They take images at their own size.
"""
import functools
import importlib.util
import json
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..data.images import read_image
from ..data.split import SEEN
from ..data.window import Window
from ..models.convolution import quicken_tiny_maps
from ..storage.errors import UserError
from ..storage.files import atomic_path
from ..storage.tensors import load_tensors, save_tensors
from .frozen import FROZEN, FrozenClassifier, frozen_from

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
        start_from(model, Path(pretrained), NETWORKS[network])
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


def start_from(model: nn.Module, file: Path, name: str) -> None:
    """Load a state dict into the model, all but an output layer of another size."""
    wanted = model.state_dict()
    tensors = {k: v for k, v in wanted.items() if k.endswith("num_batches_tracked")} | read_state_dict(file)
    unlike = [k for k in wanted if k not in tensors or tensors[k].shape != wanted[k].shape]
    unknown = [k for k in tensors if k not in wanted]
    if wrong := [k for k in unlike + unknown if not k.startswith(OUTPUT_LAYERS)]:
        raise UserError(f"{file} is not a state dict of torchvision's {name}: {wrong[0]} differs.")
    model.load_state_dict({k: wanted[k] if k in unlike else tensors[k] for k in wanted})


def read_state_dict(path: Path) -> State:
    """The tensors of a .safetensors, .pth or .pt file, by the names that torchvision's modules have."""
    if path.suffix in (".pth", ".pt") and path.is_file():
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError):
            raise UserError(f"{path} holds more than tensors, or is damaged: save model.state_dict() and pass "
                            "that.") from None
        if not isinstance(tensors, dict):
            raise UserError(f"{path} holds no named tensors: save model.state_dict() and pass that.")
        tensors = tensors.get("state_dict", tensors)
    else:
        tensors, _ = load_tensors(path)
    return {torchvision_name(k): v for k, v in tensors.items()}


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


def predict(model: nn.Module, x: Tensor, device: torch.device | str, batch_size: int = PREDICTION_BATCH_SIZE) -> Tensor:
    """Class probabilities (N, classes) of uint8 images x (N, 3, S, S)."""
    return outputs(model, x, device, batch_size).softmax(dim=1)


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor, device: torch.device | str, batch_size: int = PREDICTION_BATCH_SIZE) -> Tensor:
    """What the model gives of uint8 images x (N, 3, S, S), float32, on the CPU: logits (N, classes) or features."""
    model.eval()
    batches = (normalise(batch.to(device)).contiguous(memory_format=layout(device)) for batch in x.split(batch_size))
    return torch.cat([model(batch).float().cpu() for batch in batches])


def predict_files(model: nn.Module, files: Sequence[Path], device: torch.device | str,
                  batch_size: int = PREDICTION_BATCH_SIZE, side: int | None = IMAGE_SIDE) -> Tensor:
    """Class probabilities (N, classes) of image files. No more than a batch is in memory at a time."""
    if isinstance(model, FrozenClassifier):
        return model.predict_files(files)
    batches = [files[i:i + batch_size] for i in range(0, len(files), batch_size)]
    bar = tqdm(batches, unit="batch", desc="classifying", leave=False, disable=None)
    return torch.cat([predict(model, torch.stack([decode(file, side or IMAGE_SIDE) for file in batch]), device)
                      for batch in bar])


# ---- files ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SavedClassifier:
    """What `load` reads."""
    network: nn.Module  # ready for `predict`
    classes: list[str]
    seen: frozenset[str] | None  # sha256 of the images that it has learned from; None where that is not written down
    side: int | None = IMAGE_SIDE  # of the images that it takes; None: any size
    window: Window | None = None  # of the 16-bit images that it has learned from, if there were any


def save(path: Path, state: Mapping[str, Tensor], network: str, classes: Sequence[str],
         seen: Iterable[str] | None = None, side: int = IMAGE_SIDE, window: Window | None = None) -> None:
    """Write a state dict. Inside are the names of network and classes, and which images it has `seen` (sha256).

    window  by which its training images were read, if they had 16 bits
    """
    metadata = {"network": network, "classes": json.dumps(classes)}
    if seen is not None:
        metadata[SEEN] = json.dumps(sorted(seen))
    if side != IMAGE_SIDE:
        metadata["side"] = str(side)
    if window:
        metadata["window"] = json.dumps(asdict(window))
    save_tensors(path, state, metadata)


def load(path: Path) -> SavedClassifier:
    """Read a file that `save` wrote."""
    tensors, metadata = load_tensors(path)
    network = metadata.get("network")
    if "classes" not in metadata or network not in (*NETWORKS, *FROZEN):
        raise UserError(f"{path} is not a classifier of this project: pass a .safetensors that classify.py wrote.")
    try:
        classes = list(json.loads(metadata["classes"]))
        seen = frozenset(json.loads(metadata[SEEN])) if SEEN in metadata else None
        window = Window(**json.loads(metadata["window"])) if "window" in metadata else None
        if network in FROZEN:
            return SavedClassifier(frozen_from(network, tensors), classes, seen, None, window)
        imitated = tensors[HEAD].shape[1] if HEAD in tensors else None
        model = build(network, len(classes), imitated=imitated)
        model.load_state_dict(tensors)
        return SavedClassifier(model.eval(), classes, seen, int(metadata.get("side", IMAGE_SIDE)), window)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is a damaged classifier ({str(error).splitlines()[0]}): train it again.") from None


class ImagesToProbabilities(nn.Module):
    """A classifier with its normalisation and softmax."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, S, S) -> probabilities (N, classes)."""
        x = images.float() / 255 if isinstance(self.model, FrozenClassifier) else normalise(images)
        return self.model(x).softmax(dim=1)


def export_onnx(model: nn.Module, path: Path, side: int | None = IMAGE_SIDE) -> None:
    """Write ImagesToProbabilities as an ONNX file, for any number of images at once, of any size if `side` is None."""
    if not all(importlib.util.find_spec(package) for package in ("onnx", "onnxscript")):
        raise UserError("ONNX export needs two more packages: pip install onnx onnxscript.")
    example = torch.zeros(2, 3, side or IMAGE_SIDE, side or IMAGE_SIDE, dtype=torch.uint8)
    any_size = {} if side else {2: torch.export.Dim("H"), 3: torch.export.Dim("W")}
    with atomic_path(path) as temporary:
        torch.onnx.export(ImagesToProbabilities(model).eval(), (example,), str(temporary), input_names=["images"],
                          output_names=["probabilities"],
                          dynamic_shapes={"images": {0: torch.export.Dim("N"), **any_size}},
                          external_data=False, dynamo=True)
