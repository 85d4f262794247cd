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

from ..data.images import read_image, to_tensor
from .inception import SIDE

RESIZES = ("legacy", "clean")
MOST_VALUES = 2**23  # in a batch of images at their own size


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


def inception_features(files, model, resize="legacy", batch_size=16, progress=""):
    """Yield pool3 features (B, 2048) of image files, batch after batch."""
    return extract(files, model, lambda image: resize_for_inception(image, resize), batch_size, progress)


def nano_features(files, model, batch_size=16, progress=""):
    """Yield features (B, 128) of the network in features.py, from images at their own size."""
    return extract(files, model, lambda image: to_tensor(image) / 2 + 0.5, batch_size, progress)


@torch.no_grad()
def extract(files, model, prepare, batch_size, progress):
    """model(prepare(image)) of image files, in batches of one size of image."""
    device = next(model.parameters()).device
    with tqdm(total=len(files), unit="image", desc=progress, leave=False) as bar:
        batch = []
        for file in files:
            x = prepare(read_image(file)[0])
            if batch and (len(batch) >= min(batch_size, MOST_VALUES // x.numel()) or batch[0].shape != x.shape):
                yield model(torch.stack(batch).to(device))
                bar.update(len(batch))
                batch = []
            batch.append(x)
        yield model(torch.stack(batch).to(device))


def frechet_infinity(real, generated, seed=0, points=10):
    """FID extrapolated to infinitely many generated images: the intercept of d^2 over 1 / N (Chong & Forsyth 2020).

    real, generated  features (N, d) and (M, d); subsets of M / 4 .. M generated images are drawn.
    """
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(max(2, len(generated) // 4), len(generated), points).round().astype(int))
    if len(sizes) < 2:
        raise ValueError("an extrapolation needs more images")
    reference = gaussian(real)
    values = [frechet_distance(reference, generated[rng.choice(len(generated), n, replace=False)]) for n in sizes]
    return float(np.polyfit(1 / sizes, values, 1)[1])


def kernel_distance(real, generated, subsets=100, subset_size=None, seed=0):
    """KID, the unbiased squared maximum mean discrepancy under (x y / d + 1)^3 (Binkowski et al. 2018).

    Returns (mean, standard deviation) over random subsets, by default of half the smaller set, at most 1,000 images.
    """
    real, generated = (np.asarray(x, dtype=np.float64) for x in (real, generated))
    m = subset_size or max(2, min(1000, min(len(real), len(generated)) // 2))
    if m > min(len(real), len(generated)):
        raise ValueError(f"subsets of {m} need that many images on either side")
    rng, values = np.random.RandomState(seed), []
    for _ in range(subsets):
        x, y = (features[rng.choice(len(features), m, replace=False)] for features in (real, generated))
        k_xx, k_yy, k_xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        within = (k_xx.sum() - np.trace(k_xx) + k_yy.sum() - np.trace(k_yy)) / (m * (m - 1))
        values.append(within - 2 * k_xy.mean())
    return float(np.mean(values)), float(np.std(values))


def neighbour_scores(real, generated, k=5):
    """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) by k nearest neighbours.

    precision  share of generated images within reach of a real one (its distance to its k-th real neighbour)
    recall     share of real images within reach of a generated one
    density    how many real images reach a generated one, divided by k; may exceed 1
    coverage   share of real images that have a generated one within their reach
    """
    real, generated = (torch.as_tensor(x).double() for x in (real, generated))
    k = min(k, len(real) - 1, len(generated) - 1)
    reach_real, reach_generated = (torch.cdist(x, x).kthvalue(k + 1, dim=1).values for x in (real, generated))
    distance = torch.cdist(real, generated)
    return {"precision": float((distance < reach_real[:, None]).any(dim=0).double().mean()),
            "recall": float((distance < reach_generated[None]).any(dim=1).double().mean()),
            "density": float((distance < reach_real[:, None]).sum(dim=0).double().mean() / k),
            "coverage": float((distance.min(dim=1).values < reach_real).double().mean())}


def nearest(x, reference):
    """(distance, index) of the nearest row of `reference` (N, d) to each row of x (M, d)."""
    return torch.cdist(x.double(), reference.double()).min(dim=1)


def ssim(a, b, peak=255.0):
    """Structural similarity of two gray images (H, W), mean over the image (Wang et al. 2004).

    Gaussian windows of 11 x 11 pixels and deviation 1.5; C_1 = (0.01 peak)^2, C_2 = (0.03 peak)^2.
    """
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    window = (window / window.sum()).outer(window / window.sum())[None, None]

    def local(x):
        return F.conv2d(x[None, None].double(), window)[0, 0]

    mu_a, mu_b = local(a), local(b)
    var_a, var_b, cov = local(a * a) - mu_a**2, local(b * b) - mu_b**2, local(a * b) - mu_a * mu_b
    c_1, c_2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    return (((2 * mu_a * mu_b + c_1) * (2 * cov + c_2)) / ((mu_a**2 + mu_b**2 + c_1) * (var_a + var_b + c_2))).mean()
