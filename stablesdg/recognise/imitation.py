"""Imitation: a network learns to give the features of a frozen network, and a probe on what it gives is the classifier.

    L = |n - f|^2 / d + T^2 KL(softmax(z(f) / T) || softmax(z(n) / T))

f    the frozen network's features of an augmented view of an image, standardised by the real images: d numbers
n    what the network gives of the same view
z    the logits of a probe on the frozen features of the real images
T    TEMPERATURE

A class is one fact of an image, and features are d facts, so that a network learns more from few images. The second
term gives more weight to what tells the classes apart. No label is asked of a generated image: whatever it shows, the
frozen network has features of it.

Regression to inner features is that of FitNets (Romero et al. 2015), the second term that of Hinton et al. 2015. That
both networks see the same view is what makes a teacher consistent (Beyer et al. 2022).
"""
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..evaluate.extract import BATCH_SIZE
from .classifiers import Imitator, denormalise, outputs
from .probe import Probe, fit_probe
from .targets import TEMPERATURE, soft_loss


@dataclass(frozen=True)
class Imitated:
    """The frozen network that is imitated, and the probe on its features."""
    network: nn.Module  # images (B, 3, S, S) in [0, 1] -> features (B, d)
    probe: Probe  # on the CPU and float64

    @torch.no_grad()
    def features(self, views: Tensor) -> Tensor:
        """f (B, d) of views (B, 3, S, S), normalised as networks are given them."""
        found = self.network(denormalise(views))
        return (found - self.probe.mean.to(found)) / self.probe.std.to(found)

    def probabilities(self, x: Tensor, device: torch.device | str) -> Tensor:
        """What the probe says of uint8 images x (N, 3, S, S): (N, classes), on the CPU.

        No network that imitates at S pixels can be expected to know much more.
        """
        return self.probe.probabilities(features_of(self.network, x, device))

    def loss(self, n: Tensor, f: Tensor) -> Tensor:
        """L of a batch: n and f (B, d)."""
        weight, bias = self.probe.weight.to(n), self.probe.bias.to(n)
        soft = ((f @ weight + bias) / TEMPERATURE).softmax(dim=1)
        return F.mse_loss(n, f) + soft_loss(n @ weight + bias, soft).mean()


def imitate(network: nn.Module, x: Tensor, y: Tensor, x_val: Tensor, y_val: Tensor, classes: int, balanced: bool,
            device: torch.device | str) -> Imitated:
    """What is to be imitated: a frozen network, and a probe on its features of real images.

    x, y          images uint8 (N, 3, S, S) and classes (N,)
    x_val, y_val  those of the validation part, which choose the penalty
    balanced      all classes count alike in the probe
    """
    f, f_val = (features_of(network, images, device) for images in (x, x_val))
    return Imitated(network, fit_probe(f, y, classes, validation=(f_val, y_val), balanced=balanced))


@torch.no_grad()
def features_of(network: nn.Module, x: Tensor, device: torch.device | str) -> Tensor:
    """The frozen network's features (N, d) of uint8 images x (N, 3, S, S), on the CPU."""
    return torch.cat([network(batch.to(device).float() / 255).cpu() for batch in x.split(BATCH_SIZE)])


def fit_head(model: Imitator, x: Tensor, y: Tensor, x_val: Tensor, y_val: Tensor, balanced: bool,
             device: torch.device | str) -> None:
    """Make the model's head a probe on the features that it gives of real images. Arguments: see `imitate`."""
    n, n_val = (outputs(model.features, images, device) for images in (x, x_val))
    probe = fit_probe(n, y, model.head.out_features, validation=(n_val, y_val), balanced=balanced)
    weight, bias = probe.linear()
    model.head.load_state_dict({"weight": weight.T, "bias": bias})
