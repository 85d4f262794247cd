"""Is a generated image new, or a copy of a training image? FID does not ask; it even rewards copies.

Two measures stand in manifest.csv beside each image:

    novelty  distance to the nearest training image, by the features of features.py, over the median distance between a
             training image and its nearest other one: near 0 is a copy, 1 is as far apart as real images are
    ssim     structural similarity to its own source: 1 is the same picture

What to compare them with: sample.py --strength 0, the source through the VAE and back, and sample.py --classic,
rotations and flips of the source.
"""
import numpy as np
import torch

from ..data.images import to_tensor
from .metrics import nano_features, nearest, ssim

SAME = 1e-2  # between the features of two copies; different pictures are tens of times as far apart


class NoveltyMeter:
    """Distances to one set of training images."""

    def __init__(self, network, files):
        self.network, self.files = network, files
        self.training = torch.cat(list(nano_features(files, network, progress="training images"))).cpu()
        distance = torch.cdist(self.training.double(), self.training.double())  # float32 would not bring copies near 0
        distance[distance < SAME] = torch.inf  # an image itself, and its copies
        scale = float(distance.min(dim=1).values.median())
        self.scale = scale if scale < torch.inf else 1.0

    @torch.no_grad()
    def measure(self, images):
        """(novelty, nearest training file) of each of a list of images."""
        device = next(self.network.parameters()).device
        features = torch.cat([self.network(to_tensor(image.convert("RGB"))[None].to(device) / 2 + 0.5) for image in images])
        distance, index = nearest(features.cpu(), self.training)
        return [(float(d) / self.scale, self.files[i]) for d, i in zip(distance, index)]


def similarity(image, source):
    """SSIM of two images, gray, at the image's size."""
    a, b = (torch.from_numpy(to_gray(x, image.size)) for x in (image, source))
    return float(ssim(a, b))


def to_gray(image, size):
    return np.asarray(image.convert("L").resize(size) if image.size != size else image.convert("L"), dtype=np.float64)
