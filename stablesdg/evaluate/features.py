"""A small feature network for machines without Inception's weights: `fid.py --features nano`.

It was trained together with weights/nano (prior/feature_network.py). Its pooled activations tell surfaces apart, but
they are not Inception's: a distance between them is FD-nano, never FID.
"""
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..storage.errors import UserError
from ..storage.tensors import load_tensors
from ..weights.read import NANO

WIDTHS = (16, 32, 64, 96, 160, 256)
DETAIL = 8.0  # how much detail is enlarged
DETAIL_WINDOW = 9  # pixels
HEADS = "heads."  # how the names of those tensors begin that only training needs


def normalised(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """norm(conv(x)). In evaluation the norm is linear, and both are one convolution."""
    if norm.training:
        return norm(conv(x))
    weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, norm.get_buffer("running_mean"),
                                        norm.get_buffer("running_var"), norm.eps, norm.weight, norm.bias)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding)


def mean_around(x: Tensor, window: int = DETAIL_WINDOW) -> Tensor:
    """The means of x (.., H, W) over squares of `window` pixels around each pixel, as far as they lie in the image.

    A mean along one axis is a product with a matrix, which is several times as fast as pooling.
    """
    def means(n: int) -> Tensor:
        place = torch.arange(n, device=x.device)
        near = ((place[:, None] - place).abs() <= window // 2).to(x.dtype)
        return near / near.sum(dim=1, keepdim=True)

    with torch.autocast(x.device.type, enabled=False):  # its small difference from x counts
        return means(x.shape[-2]) @ x @ means(x.shape[-1]).T


class Block(nn.Module):
    """Two convolutions, the first of which halves the image. The second one's input is added back."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H / 2, W / 2)."""
        x = F.relu(normalised(x, self.conv1, self.norm1), inplace=True)
        return F.relu(x + normalised(x, self.conv2, self.norm2), inplace=True)


class FeatureNetwork(nn.Module):
    """Images to features (B, widths[-1])."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.conv_in = nn.Conv2d(6, widths[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, widths[1:])))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) in [0, 1], at the images' own size -> (B, widths[-1]).

        Beside the image stands its detail, enlarged: grain is faint against the differences in brightness.
        """
        both = torch.cat([2 * x - 1, DETAIL * (x - mean_around(x))], dim=1)
        if not self.training:  # faster there
            both = both.contiguous(memory_format=torch.channels_last)
        return self.blocks(F.relu(self.conv_in(both), inplace=True)).mean(dim=(2, 3))


def read_feature_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a features.safetensors in float32, those of the heads included."""
    if not file.is_file():
        raise UserError(f"There is no {file}: it comes with weights/nano, or python -m stablesdg.prior makes it.")
    tensors, _ = load_tensors(file)
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def widths_of(tensors: dict[str, Tensor]) -> tuple[int, ...]:
    """The widths of the network that these tensors belong to."""
    blocks = [name for name in tensors if name.startswith("blocks.") and name.endswith(".conv1.weight")]
    return (len(tensors["conv_in.weight"]), *(len(tensors[name]) for name in sorted(blocks)))


def load_feature_network(file: str | Path, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The frozen network of a features.safetensors."""
    tensors = read_feature_tensors(Path(file))
    network = FeatureNetwork(widths_of(tensors))
    network.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(HEADS)})
    return network.to(device).requires_grad_(False).eval()


def load_nano_network(device: torch.device | str = "cpu") -> FeatureNetwork:
    """The feature network of weights/nano."""
    return load_feature_network(NANO / "features.safetensors", device)
