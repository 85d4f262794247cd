"""Five networks that recognise defects, their training and their test (section IV-A of the paper)."""
import functools
import json
import math
import pickle
import re
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from ..data.images import read_image
from ..storage.errors import UserError
from ..storage.files import atomic_path
from ..storage.tensors import load_tensors, save_tensors

NETWORKS = {"alexnet": "alexnet", "vgg": "vgg16", "resnet": "resnet18", "squeezenet": "squeezenet1_1",
            "densenet": "densenet121"}  # to torchvision's names
SIDE = 200  # pixels
LR, BATCH_SIZE, ROTATION = 1e-4, 32, 10.0  # Adam's learning rate, images a step, degrees to either side
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's pretrained weights expect


def build(network, classes, pretrained=None):
    """A network with `classes` outputs: random, or from a local state dict whose other-sized output layer is left out."""
    import torchvision

    model = getattr(torchvision.models, NETWORKS[network])(num_classes=classes)
    if pretrained:
        pretrained = Path(pretrained)
        tensors = read_state_dict(pretrained)
        wanted = model.state_dict()
        tensors = {k: v for k, v in wanted.items() if k.endswith("num_batches_tracked")} | tensors
        other = [k for k in wanted if k not in tensors or tensors[k].shape != wanted[k].shape]
        heads = ("classifier.", "fc.")
        if strange := [k for k in [*other, *(k for k in tensors if k not in wanted)] if not k.startswith(heads)]:
            raise UserError(f"{pretrained} is not a state dict of torchvision's {NETWORKS[network]}: {strange[0]} differs.")
        model.load_state_dict({k: wanted[k] if k in other else tensors[k] for k in wanted})
    if network in ("alexnet", "vgg"):
        model.avgpool = AdaptivePool(model.avgpool.output_size)
    return model


def read_state_dict(path):
    """The tensors of a .safetensors, or of a .pth or .pt, by the names that torchvision's modules have."""
    if path.suffix in (".pth", ".pt") and path.is_file():
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError):
            raise UserError(f"{path} holds more than tensors, or is damaged: save model.state_dict() and pass that.") from None
        tensors = tensors.get("state_dict", tensors)
    else:
        tensors, _ = load_tensors(path)
    # A model trained in parallel puts module. before each name; DenseNet's released file spells norm.1 instead of norm1.
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", k.removeprefix("module.")): v
            for k, v in tensors.items()}


class AdaptivePool(torch.nn.Module):
    """torch.nn.AdaptiveAvgPool2d as two matrix products: Apple GPUs have the former only where the size is a multiple of the
    output's, and at 200 pixels AlexNet pools 5 to 6 and VGG-16 6 to 7."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        rows, columns = (F.adaptive_avg_pool1d(torch.eye(n)[None], m)[0].to(x) for n, m in zip(x.shape[-2:], self.size))
        return rows.T @ x @ columns


def decode(file):
    """uint8 (3, 200, 200), resized."""
    image = read_image(file)[0]
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3).permute(2, 0, 1)


@functools.lru_cache(maxsize=20_000)
def decode_once(file, changed):
    """The same, kept in memory for as long as the file is not `changed`."""
    return decode(file)


def load_images(files):
    """uint8 (N, 3, 200, 200); each file is decoded once, however many seeds train on it."""
    return torch.stack([decode_once(file, file.stat().st_mtime_ns) for file in files])


def augment(x, generator):
    """Random flips on both axes and a rotation by up to 10 degrees, each image its own. x (B, 3, H, W)."""
    flip = torch.randint(0, 2, (len(x), 2), generator=generator) * 2.0 - 1
    angle = (torch.rand(len(x), generator=generator) * 2 - 1) * math.radians(ROTATION)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(x))
    theta = torch.stack([torch.stack([cos * flip[:, 0], -sin * flip[:, 1], zero], dim=1),
                         torch.stack([sin * flip[:, 0], cos * flip[:, 1], zero], dim=1)], dim=1)  # (B, 2, 3)
    grid = F.affine_grid(theta.to(x), x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def normalise(x):
    """uint8 or float 0..255 -> zero mean, unit variance by ImageNet's statistics."""
    mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (x.float() / 255 - mean) / std


def layout(device):
    """Channels last: faster convolutions on CPUs and CUDA."""
    return torch.contiguous_format if torch.device(device).type == "mps" else torch.channels_last


@torch.no_grad()
def predict(model, x, device, batch_size=64):
    """Class probabilities (N, classes) of uint8 images x (N, 3, 200, 200)."""
    model.eval()
    batches = (normalise(batch.to(device)).contiguous(memory_format=layout(device)) for batch in x.split(batch_size))
    return torch.cat([model(batch).float().softmax(dim=1).cpu() for batch in batches])


def predict_files(model, files, device, batch_size=64):
    """Class probabilities (N, classes) of image files, of which no more than a batch is in memory at a time."""
    batches = (files[i:i + batch_size] for i in range(0, len(files), batch_size))
    return torch.cat([predict(model, torch.stack([decode(file) for file in batch]), device) for batch in batches])


def steps(n, batch_size=BATCH_SIZE):
    """Optimiser steps of one epoch over n images; a single image left over takes none, see `train`."""
    return max(1, n // batch_size + (n % batch_size > 1))


def train(model, x, y, x_val, y_val, *, epochs, seed, device, lr=LR, batch_size=BATCH_SIZE, patience=None, label="",
          dtype=torch.float32):
    """Adam on cross-entropy; keeps the epoch with the best accuracy on the validation part, of equals that of least loss.

    x (N, 3, 200, 200) uint8, y (N,) class numbers; `patience` epochs without a better one end it early, None never does;
    `dtype` is that of the arithmetic, by autocast. Weights, and the validation, are float32.
    Returns (best state dict, [(validation accuracy, minus the validation's cross-entropy) of each epoch]).
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout
    model.to(device, memory_format=layout(device))
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    best, history = None, []
    bar = tqdm(range(epochs), unit="epoch", desc=label)
    for _ in bar:
        model.train()
        total = 0.0
        for indices in torch.randperm(len(x), generator=generator).split(batch_size):
            if len(indices) == 1 and len(x) > 1:
                continue  # batch normalisation has no statistics of a single image
            batch = augment(normalise(x[indices].to(device)), generator)
            with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
                logits = model(batch.contiguous(memory_format=layout(device)))
            loss = F.cross_entropy(logits.float(), y[indices].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(indices)
        probabilities = predict(model, x_val, device)
        history.append((float((probabilities.argmax(dim=1) == y_val).float().mean()),
                        -float(F.nll_loss(probabilities.clamp(min=1e-12).log(), y_val))))
        if history[-1] > max(history[:-1], default=(-1.0,)):
            best = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}
        bar.set_postfix(loss=f"{total / len(x):.3f}", val=f"{history[-1][0]:.3f}")
        if patience and len(history) - 1 - history.index(max(history)) >= patience:
            break
    return best, history


# ---- trained classifiers ----------------------------------------------------------------------------------------


def save(path, state, network, classes):
    """A state dict with the names of network and classes inside."""
    save_tensors(path, state, {"network": network, "classes": json.dumps(classes)})


def load(path):
    """(network ready for predict, class names) of a file that `save` wrote."""
    tensors, metadata = load_tensors(path)
    if "classes" not in metadata or metadata.get("network") not in NETWORKS:
        raise UserError(f"{path} is not a classifier of this project: pass a .safetensors that classify.py wrote.")
    classes = json.loads(metadata["classes"])
    model = build(metadata["network"], len(classes))
    model.load_state_dict(tensors)
    return model.eval(), classes


def export_onnx(model, path):
    """The classifier with its normalisation and softmax: uint8 (N, 3, 200, 200) -> probabilities (N, classes)."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("ONNX export needs two more packages: pip install onnx onnxscript.") from None

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            return self.model(normalise(images)).softmax(dim=1)

    example = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    with atomic_path(path) as temporary:
        torch.onnx.export(Whole().eval(), (example,), str(temporary), input_names=["images"], output_names=["probabilities"],
                          dynamic_shapes={"images": {0: torch.export.Dim("N")}}, external_data=False, dynamo=True)
