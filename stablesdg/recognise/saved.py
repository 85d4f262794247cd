"""Classifiers as files: state dicts that say what they are of, and ONNX."""
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.split import SEEN
from ..data.window import Window
from ..storage.errors import UserError
from ..storage.files import atomic_path
from ..storage.tensors import load_tensors, save_tensors
from .classifiers import HEAD, IMAGE_SIDE, NETWORKS, build, normalise
from .frozen import FROZEN, FrozenClassifier, frozen_from


@dataclass(frozen=True)
class SavedClassifier:
    """What `load_classifier` reads."""
    network: nn.Module  # ready for `predict`
    classes: list[str]
    seen: frozenset[str] | None  # sha256 of the images that it has learned from; None where that is not written down
    side: int | None = IMAGE_SIDE  # of the images that it takes; None: any size
    window: Window | None = None  # of the 16-bit images that it has learned from, if there were any


def save_classifier(path: Path, state: Mapping[str, Tensor], network: str, classes: Sequence[str],
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


def load_classifier(path: Path) -> SavedClassifier:
    """Read a file that `save_classifier` wrote. Raises UserError for any other file."""
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
