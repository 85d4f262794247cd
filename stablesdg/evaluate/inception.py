"""The Inception network of FID up to pool3 (Szegedy et al. 2016; Heusel et al. 2017).

It differs from torchvision's Inception-v3 where the TensorFlow graph of 2015-12-05 does: average pooling leaves the
padding out of the mean, and the last block pools by maximum. Attribute names spell the keys of the released
pt_inception-2015-12-05-6726825d.pth, whose fully connected layer is not needed.
"""
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..storage.errors import UserError
from ..storage.tensors import load_state_dict
from ..weights.strict import fill
from .features import normalised

FILE_STEM = "pt_inception-2015-12-05-6726825d"
SUFFIXES = (".safetensors", ".pth")
INPUT_SIDE = 299  # pixels


class BasicConv2d(nn.Module):
    """Convolution without bias, batch normalisation (eps 1e-3), ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int | tuple[int, int], **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, bias=False, **options)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H', W')."""
        return F.relu(normalised(x, self.conv, self.bn), inplace=True)


def average(x: Tensor) -> Tensor:
    """3 x 3 means at stride 1 that leave the padding out. (B, C, H, W) -> the same shape."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def chain(x: Tensor, *modules: nn.Module) -> Tensor:
    """Run modules one after the other."""
    for module in modules:
        x = module(x)
    return x


class InceptionA(nn.Module):
    """35 x 35: branches of 1x1, 5x5, double 3x3 and pooling, the last one `pool` channels wide."""

    def __init__(self, c_in: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(c_in, 64, 1)
        self.branch5x5_1 = BasicConv2d(c_in, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(c_in, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(c_in, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, 35, 35) -> (B, 224 + pool, 35, 35)."""
        return torch.cat([self.branch1x1(x), chain(x, self.branch5x5_1, self.branch5x5_2),
                          chain(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
                          self.branch_pool(average(x))], dim=1)


class InceptionB(nn.Module):
    """35 x 35 -> 17 x 17."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(c_in, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(c_in, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 288, 35, 35) -> (B, 768, 17, 17)."""
        return torch.cat([self.branch3x3(x), chain(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
                          F.max_pool2d(x, 3, stride=2)], dim=1)


class InceptionC(nn.Module):
    """17 x 17: 7x7 convolutions factored into 1x7 and 7x1, `inner` channels wide."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        wide, tall = dict(kernel=(1, 7), padding=(0, 3)), dict(kernel=(7, 1), padding=(3, 0))
        self.branch1x1 = BasicConv2d(768, 192, 1)
        self.branch7x7_1 = BasicConv2d(768, inner, 1)
        self.branch7x7_2 = BasicConv2d(inner, inner, **wide)
        self.branch7x7_3 = BasicConv2d(inner, 192, **tall)
        self.branch7x7dbl_1 = BasicConv2d(768, inner, 1)
        self.branch7x7dbl_2 = BasicConv2d(inner, inner, **tall)
        self.branch7x7dbl_3 = BasicConv2d(inner, inner, **wide)
        self.branch7x7dbl_4 = BasicConv2d(inner, inner, **tall)
        self.branch7x7dbl_5 = BasicConv2d(inner, 192, **wide)
        self.branch_pool = BasicConv2d(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 768, 17, 17) -> the same shape."""
        return torch.cat([self.branch1x1(x), chain(x, self.branch7x7_1, self.branch7x7_2, self.branch7x7_3),
                          chain(x, self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4,
                                self.branch7x7dbl_5), self.branch_pool(average(x))], dim=1)


class InceptionD(nn.Module):
    """17 x 17 -> 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(768, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(768, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 768, 17, 17) -> (B, 1280, 8, 8)."""
        return torch.cat([chain(x, self.branch3x3_1, self.branch3x3_2),
                          chain(x, self.branch7x7x3_1, self.branch7x7x3_2, self.branch7x7x3_3, self.branch7x7x3_4),
                          F.max_pool2d(x, 3, stride=2)], dim=1)


class InceptionE(nn.Module):
    """8 x 8: branches that split once more. `pool` is "average" in Mixed_7b and "maximum" in Mixed_7c."""

    def __init__(self, c_in: int, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = BasicConv2d(c_in, 320, 1)
        self.branch3x3_1 = BasicConv2d(c_in, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(c_in, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(c_in, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, 8, 8) -> (B, 2048, 8, 8)."""
        a = self.branch3x3_1(x)
        b = chain(x, self.branch3x3dbl_1, self.branch3x3dbl_2)
        pooled = average(x) if self.pool == "average" else F.max_pool2d(x, 3, stride=1, padding=1)
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(a), self.branch3x3_2b(a), self.branch3x3dbl_3a(b),
                          self.branch3x3dbl_3b(b), self.branch_pool(pooled)], dim=1)


class FIDInception(nn.Module):
    """Inception up to pool3, the features of FID."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = InceptionA(192, 32), InceptionA(256, 64), InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b, self.Mixed_6c = InceptionC(128), InceptionC(160)
        self.Mixed_6d, self.Mixed_6e = InceptionC(160), InceptionC(192)
        self.Mixed_7a = InceptionD()
        self.Mixed_7b, self.Mixed_7c = InceptionE(1280, "average"), InceptionE(2048, "maximum")

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, 299, 299) in [0, 1] -> pool3 features (B, 2048)."""
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)  # faster
        x = chain(x, self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3)
        x = chain(F.max_pool2d(x, 3, stride=2), self.Conv2d_3b_1x1, self.Conv2d_4a_3x3)
        x = chain(F.max_pool2d(x, 3, stride=2), self.Mixed_5b, self.Mixed_5c, self.Mixed_5d)
        x = chain(x, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e)
        x = chain(x, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c)
        return x.mean(dim=(2, 3))


def find_inception_weights(folder: str | Path) -> Path:
    """The released .pth or its .safetensors in `folder`. Raises UserError that says how to get it."""
    for suffix in SUFFIXES:
        if (file := Path(folder) / (FILE_STEM + suffix)).is_file():
            return file
    raise UserError(f"FID needs {FILE_STEM}.pth in {folder}: run python -m stablesdg.download --inception where there "
                    "is a network, pass --inception-weights FILE, or measure with --features nano.")


def has_inception_weights(folder: str | Path) -> bool:
    """Whether `find_inception_weights` finds a file."""
    return any((Path(folder) / (FILE_STEM + suffix)).is_file() for suffix in SUFFIXES)


def load_inception(path: str | Path, device: torch.device | str = "cpu") -> FIDInception:
    """The network of pt_inception-2015-12-05-6726825d.pth or its .safetensors.

    Raises UserError if there is no such file, or if it does not hold this network.
    """
    tensors = {k: v for k, v in load_state_dict(path).items() if not k.startswith("fc.")}
    model = FIDInception()
    # Batch normalisation counts its training batches in files of some ages; evaluation has no use for the count.
    counts = {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    fill(model, {**counts, **tensors}, path, "Fetch it again with python -m stablesdg.download --inception.")
    return model.to(device).eval()
