"""What a network is to answer, and the loss of what it answers: hard labels, and a teacher's soft ones.

    L = (1 - a) CE(hard, p) + a T^2 KL(soft || p_T)      (Hinton et al. 2015, section 2)

p      the network's probabilities softmax(z), and p_T = softmax(z / T)
soft   the teacher's probabilities at the temperature T
a      SOFT_SHARE for real images. Generated images have a = 1: what they show is not certain, and the teacher says it
T^2    keeps the gradients of both terms of one size when T changes
"""
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 2.0  # T
SOFT_SHARE = 0.5  # a


@dataclass(frozen=True)
class Targets:
    """What a network is to answer for N images."""
    hard: Tensor  # (N, classes): 1 for the image's class
    soft: Tensor | None  # (N, classes): the teacher's probabilities at T; None without a teacher
    soft_share: Tensor  # a (N,)
    weight: Tensor  # (N,) of each image's loss

    def at(self, indices: Tensor) -> "Targets":
        """Those of some images."""
        soft = None if self.soft is None else self.soft[indices]
        return Targets(self.hard[indices], soft, self.soft_share[indices], self.weight[indices])

    def to(self, device: torch.device | str) -> "Targets":
        """The same on a device."""
        soft = None if self.soft is None else self.soft.to(device)
        return Targets(self.hard.to(device), soft, self.soft_share.to(device), self.weight.to(device))

    def mixed_with(self, partner: Tensor, share: float) -> "Targets":
        """Those of images that keep this share of themselves. The rest is of their partners."""
        other = self.at(partner)
        soft = None if self.soft is None or other.soft is None else torch.lerp(other.soft, self.soft, share)
        return Targets(torch.lerp(other.hard, self.hard, share), soft,
                       torch.lerp(other.soft_share, self.soft_share, share),
                       torch.lerp(other.weight, self.weight, share))


def make_targets(y: Tensor, classes: int, soft: Tensor | None = None, certain: Tensor | None = None,
                 weight: Tensor | None = None) -> Targets:
    """Targets of images of the classes y (N,).

    soft     the teacher's probabilities (N, classes)
    certain  which images' classes are certain (N,); of the others, the teacher's labels count alone. None: all
    weight   of each image's loss (N,); None: 1
    """
    share = torch.full((len(y),), SOFT_SHARE if soft is not None else 0.0)
    if soft is not None and certain is not None:
        share[~certain] = 1.0
    return Targets(F.one_hot(y, classes).float(), None if soft is None else soft.float(), share,
                   torch.ones(len(y)) if weight is None else weight.float())


def target_loss(logits: Tensor, targets: Targets) -> Tensor:
    """L of a batch, the weighted mean over its images. logits (B, classes)."""
    loss = F.cross_entropy(logits, targets.hard, reduction="none")
    if targets.soft is not None:
        loss = (1 - targets.soft_share) * loss + targets.soft_share * soft_loss(logits, targets.soft)
    return (targets.weight * loss).sum() / targets.weight.sum()


def soft_loss(logits: Tensor, soft: Tensor) -> Tensor:
    """T^2 KL(soft || p_T) (B,) of logits (B, classes) and the teacher's probabilities (B, classes) at T."""
    log_p = (logits / TEMPERATURE).log_softmax(dim=1)
    return TEMPERATURE**2 * F.kl_div(log_p, soft, reduction="none").sum(dim=1)
