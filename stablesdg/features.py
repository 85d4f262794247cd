"""A small feature network for machines without Inception's weights: `fid.py --features nano`.

It was trained to name what `textures.py` drew (base, mark, tone, ..) and to say how blurred, noisy and compressed the
picture had been made. Its pooled activations tell textures apart, but they are not Inception's: a distance between them
is FD-nano, never FID.
"""
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import to_tensor

from .files import UserError, load_tensors
from .textures import ATTRIBUTES

DEGRADATIONS = ("blurred", "noisy", "compressed")  # each by 0 to 1
HEADS = {**{name: len(values) for name, values in ATTRIBUTES.items()}, "degradation": len(DEGRADATIONS)}
WIDTHS = (16, 32, 64, 96, 128)
DETAIL = 8.0  # how much detail is enlarged


class Block(nn.Module):
    """Two convolutions, the first of which halves the image; the second one's input is added back."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(x)))


class FeatureNetwork(nn.Module):
    """Images to features (B, 128), and features to one row of logits for each attribute and three degradations."""

    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(6, WIDTHS[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Block(a, b, 2) for a, b in zip(WIDTHS, WIDTHS[1:])))
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTHS[-1], n) for name, n in HEADS.items()})

    def forward(self, x):
        """x (B, 3, H, W) in [0, 1], at the images' own size -> (B, 128).

        Beside the image stands its detail, enlarged: grain is faint against the differences in brightness.
        """
        detail = DETAIL * (x - F.avg_pool2d(x, 9, stride=1, padding=4, count_include_pad=False))
        return self.blocks(F.relu(self.conv_in(torch.cat([2 * x - 1, detail], dim=1)))).mean(dim=(2, 3))

    def name(self, features):
        """{attribute: logits (B, values), "degradation": strengths (B, 3)} of features (B, 128)."""
        return {name: head(features) for name, head in self.heads.items()}


def load_feature_network(file, device="cpu"):
    """The frozen network of a features.safetensors that pretrain.py wrote."""
    file = Path(file)
    if not file.is_file():
        raise UserError(f"There is no {file}: it comes with weights/nano, or python pretrain.py makes it.")
    model = FeatureNetwork()
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_tensors(file)[0].items()})
    return model.to(device).requires_grad_(False).eval()


def crop(image, corner, side):
    """A square of `side` pixels of the image (3, H, W), at `corner` between 0 and 1; all of it if side is None."""
    if side is None:
        return image
    top, left = (int(c * (full - side + 1)) for c, full in zip(corner, image.shape[1:]))
    return image[:, top:top + side, left:left + side]


def degrade(image, strengths, generator):
    """image (3, H, W) uint8 -> (3, H, W) in [0, 1], blurred, made noisy and compressed by strengths of 0 to 1 each."""
    blurred, noisy, compressed = strengths
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    if blurred:
        picture = picture.filter(ImageFilter.GaussianBlur(0.3 + 2.7 * blurred))
    if noisy:
        noise = 20 * noisy * torch.randn(image.shape[1:], generator=generator).numpy()
        picture = Image.fromarray((np.asarray(picture) + noise[..., None]).clip(0, 255).astype(np.uint8))
    if compressed:
        with io.BytesIO() as file:
            picture.save(file, "JPEG", quality=round(85 - 80 * compressed))
            picture = Image.open(file).copy()
    return to_tensor(picture)
