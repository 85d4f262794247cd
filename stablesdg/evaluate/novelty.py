"""Is a generated image new, or a copy of a training image? FID does not ask. It even rewards copies.

Two measures stand in manifest.csv beside each image:

    novelty  distance to the nearest training image by the features of features.py, divided by the median distance of a
             training image from its nearest one of another surface: near 0 is a copy, 1 is as far away as real images
             of other surfaces are. Overlapping crops of one surface would make that unit smaller
    ssim     structural similarity to its own source: 1 is the same picture

Compare them with those of sample.py --strength 0, which sends the source through the VAE and back, and with those of
sample.py --classic, which rotates and mirrors the source.
"""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.images import to_unit_tensor
from .extract import extract_features
from .neighbours import nearest

COPY_NOVELTY, STRANGE_NOVELTY = 0.2, 3.0  # nearly a copy below; like nothing real above
COPY_DISTANCE = 1e-2  # between the features of two copies; different pictures are tens of times as far apart
WINDOW_RADIUS, WINDOW_SIGMA = 5, 1.5  # pixels; the window of SSIM is 11 x 11


class NoveltyMeter:
    """Distances to one set of training images.

    network   images (B, 3, H, W) in [0, 1] at their own size -> features (B, d)
    surfaces  the surface that each training image shows, where that is known, as the split's groups tell
    """

    def __init__(self, network: nn.Module, files: Sequence[Path], surfaces: Sequence[str] | None = None) -> None:
        self.network, self.files = network, files
        self.training = torch.cat(list(extract_features(files, network, progress="training images"))).cpu()
        self.scale = novelty_unit(self.training, surfaces)

    @torch.no_grad()
    def measure(self, images: Sequence[Image.Image]) -> list[tuple[float, Path]]:
        """(novelty, nearest training file) of each image."""
        device = next(self.network.parameters()).device
        features = torch.cat([self.network(to_unit_tensor(image.convert("RGB"))[None].to(device)) for image in images])
        distance, index = nearest(features.cpu(), self.training)
        return [(float(d) / self.scale, self.files[int(i)]) for d, i in zip(distance, index)]


def novelty_unit(training: Tensor, surfaces: Sequence[str] | None = None) -> float:
    """The median distance of features (N, d) from their nearest ones of another surface.

    Says so if there is one surface alone: the unit is then the distance to the nearest other image, or 1 if there is
    but one picture.
    """
    distance = torch.cdist(training.double(), training.double())  # float32 would not bring copies near 0
    distance[distance < COPY_DISTANCE] = torch.inf  # an image itself, and its copies
    if surfaces is not None:
        different, numbers = np.unique(surfaces, return_inverse=True)
        number = torch.from_numpy(numbers)
        apart = distance.masked_fill(number[:, None] == number, torch.inf)
        if len(different) > 1 and (unit := float(apart.min(dim=1).values.median())) < torch.inf:
            return unit
        print("note: the training images show one surface, so novelty is in units of the distances within it")
    unit = float(distance.min(dim=1).values.median())
    if unit < torch.inf:
        return unit
    print("note: there is one training picture alone, so novelty is the bare distance of features: 1 has no meaning")
    return 1.0


def similarity(image: Image.Image, source: Image.Image) -> float:
    """SSIM of two images, made gray, at the first one's size."""
    a, b = (torch.from_numpy(gray_levels(x, image.size)) for x in (image, source))
    return float(ssim(a, b))


def gray_levels(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """An image of any mode, resized to `size` (width, height) -> (H, W) float64, 0 .. 255."""
    gray = image.convert("L")
    return np.asarray(gray if gray.size == size else gray.resize(size), dtype=np.float64)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of two gray images (H, W), 0 .. 255, the mean over the image (Wang et al. 2004).

    The windows are Gaussian, 11 x 11 pixels of deviation 1.5; C_1 = (0.01 * 255)^2, C_2 = (0.03 * 255)^2. In a
    smaller image they are as large as fits.
    """
    radius = min(WINDOW_RADIUS, (min(a.shape) - 1) // 2)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    window = torch.exp(-0.5 * (offsets / WINDOW_SIGMA) ** 2)
    window = (window / window.sum()).view(1, 1, -1, 1)
    a, b = a.double(), b.double()
    maps = torch.stack([a, b, a * a, b * b, a * b])[:, None]
    maps = F.conv2d(F.conv2d(maps, window), window.transpose(2, 3))  # along one axis, then along the other
    mu_a, mu_b, aa, bb, ab = maps[:, 0]
    var_a, var_b, cov = aa - mu_a**2, bb - mu_b**2, ab - mu_a * mu_b
    c_1, c_2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (((2 * mu_a * mu_b + c_1) * (2 * cov + c_2)) / ((mu_a**2 + mu_b**2 + c_1) * (var_a + var_b + c_2))).mean()
