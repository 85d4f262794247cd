"""The Frechet distance between two sets of images, by features of a network (Heusel et al. 2017; the paper's eq. 6).

    d^2 = |mu_1 - mu_2|^2 + tr(S_1) + tr(S_2) - 2 tr((S_1 S_2)^(1/2))

The paper prints |mu_1 - mu_2| without the square and the root around the wrong term; this is the formula of its
reference. With any root S = R^T R of each covariance, tr((S_1 S_2)^(1/2)) is the sum of the singular values of
R_1 R_2^T. Centred features are such a root, so that N < 2048 images, whose S is singular, need no square root of a
matrix and no jitter: the value is exact.
"""
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from .data import read_image
from .inception import FEATURES, SIDE

RESIZES = ("legacy", "clean")


@dataclass
class Gaussian:
    """Mean (d,) and covariance R^T R of n feature vectors, float64. R is (n, d), or (d, d) where n is larger."""
    mean: torch.Tensor
    root: torch.Tensor
    n: int


class FeatureStatistics:
    """Sums over a stream of feature vectors, in float64; memory does not grow with n beyond n = d."""

    def __init__(self, d):
        self.d, self.n = d, 0
        self.kept = []  # all features, as long as there are fewer than d
        self.sum = self.outer = self.shift = None

    def add(self, features):
        """features (B, d)."""
        features = features.detach().cpu().double()
        self.n += len(features)
        if self.sum is None:
            self.kept.append(features)
            if self.n < self.d:
                return
            features, self.kept = torch.cat(self.kept), []
            self.shift = features.mean(dim=0)  # near the mean, so that the difference of sums keeps its digits
            self.sum, self.outer = torch.zeros(self.d).double(), torch.zeros(self.d, self.d).double()
        features = features - self.shift
        self.sum += features.sum(dim=0)
        self.outer += features.T @ features

    def gaussian(self):
        if self.n < 2:
            raise ValueError("a covariance needs at least 2 images")
        if self.sum is None:
            features = torch.cat(self.kept)
            return Gaussian(features.mean(dim=0), (features - features.mean(dim=0)) / (self.n - 1) ** 0.5, self.n)
        mean = self.sum / self.n
        covariance = (self.outer - self.n * torch.outer(mean, mean)) / (self.n - 1)
        values, vectors = torch.linalg.eigh(covariance)
        return Gaussian(mean + self.shift, values.clamp(min=0).sqrt()[:, None] * vectors.T, self.n)


def gaussian(features):
    """Mean and root of the covariance (divisor N - 1) of features (N, d)."""
    features = torch.as_tensor(features)
    statistics = FeatureStatistics(features.shape[1])
    statistics.add(features)
    return statistics.gaussian()


def frechet_distance(a, b):
    """d^2 between two sets of features (N, d) and (M, d), or between two Gaussians."""
    a, b = (x if isinstance(x, Gaussian) else gaussian(x) for x in (a, b))
    overlap = torch.linalg.svdvals(a.root @ b.root.T).sum()
    return float((a.mean - b.mean).square().sum() + a.root.square().sum() + b.root.square().sum() - 2 * overlap)


def resize_for_inception(image, resize="legacy"):
    """RGB image -> (3, 299, 299) in [0, 1].

    "legacy" samples bilinearly without antialiasing, as the original FID and pytorch-fid do; "clean" filters when it
    shrinks (bicubic with antialiasing, each channel in float), as clean-fid does. Values differ between the two.
    """
    if resize == "legacy":
        x = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)[None] / 255
        return F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
    if resize == "clean":
        channels = [Image.fromarray(np.asarray(c, dtype=np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                    for c in image.split()]
        return torch.from_numpy(np.stack([np.asarray(c) for c in channels])).clamp(0, 255) / 255
    raise ValueError(f"resize {resize!r} is none of {RESIZES}")


@torch.no_grad()
def inception_features(files, model, resize="legacy", batch_size=16, progress=""):
    """Yield pool3 features (B, 2048) of image files, batch after batch."""
    device = next(model.parameters()).device
    with tqdm(total=len(files), unit="image", desc=progress, leave=False) as bar:
        for start in range(0, len(files), batch_size):
            batch = files[start:start + batch_size]
            x = torch.stack([resize_for_inception(read_image(file)[0], resize) for file in batch])
            yield model(x.to(device))
            bar.update(len(batch))


def inception_gaussian(files, model, **options):
    """Mean and covariance root of the pool3 features of image files."""
    statistics = FeatureStatistics(FEATURES)
    for features in inception_features(files, model, **options):
        statistics.add(features)
    return statistics.gaussian()
