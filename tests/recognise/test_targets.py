"""The loss of hard and soft labels, against PyTorch and against the formula in float64."""
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stablesdg.recognise.targets import SOFT_SHARE, TEMPERATURE, make_targets, target_loss


def batch(n=7, classes=4):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(n, classes, generator=generator)
    soft = torch.rand(n, classes, generator=generator).softmax(dim=1)
    return logits, torch.arange(n) % classes, soft


def test_hard_labels_give_the_cross_entropy():
    logits, y, _ = batch()
    assert float(target_loss(logits, make_targets(y, 4))) == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-6)


def test_soft_labels_give_the_loss_of_hinton_by_hand_in_float64():
    logits, y, soft = batch()
    certain = torch.tensor([True, True, True, False, True, False, True])
    total = 0.0
    for z, k, q, sure in zip(logits.double().numpy(), y.tolist(), soft.double().numpy(), certain.tolist()):
        a = SOFT_SHARE if sure else 1.0
        log_p, log_p_t = z - np.log(np.exp(z).sum()), z / TEMPERATURE - np.log(np.exp(z / TEMPERATURE).sum())
        total += (1 - a) * -log_p[k] + a * TEMPERATURE**2 * float((q * (np.log(q) - log_p_t)).sum())
    assert float(target_loss(logits, make_targets(y, 4, soft, certain))) == pytest.approx(total / 7, rel=1e-5)


def test_without_certain_classes_the_loss_is_pytorchs_divergence():
    logits, y, soft = batch()
    theirs = F.kl_div((logits / TEMPERATURE).log_softmax(dim=1), soft, reduction="batchmean") * TEMPERATURE**2
    ours = target_loss(logits, make_targets(y, 4, soft, torch.zeros(7, dtype=torch.bool)))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_a_network_that_says_what_the_teacher_says_has_no_divergence():
    logits, y, _ = batch()
    soft = (logits / TEMPERATURE).softmax(dim=1)
    assert float(target_loss(logits, make_targets(y, 4, soft, torch.zeros(7, dtype=torch.bool)))) == pytest.approx(
        0, abs=1e-6)


def test_weights_count_an_image_as_that_many():
    logits, y, soft = batch()
    twice = make_targets(y, 4, soft, weight=torch.tensor([2.0] + [1.0] * 6))
    again = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    assert float(target_loss(logits, twice)) == pytest.approx(
        float(target_loss(logits[again], make_targets(y[again], 4, soft[again]))), rel=1e-6)


def test_labels_mix_as_the_images_do():
    logits, y, soft = batch()
    targets, partner = make_targets(y, 4, soft), torch.tensor([1, 2, 3, 4, 5, 6, 0])
    mixed = targets.mixed_with(partner, 0.75)
    assert torch.allclose(mixed.hard, 0.75 * targets.hard + 0.25 * targets.hard[partner])
    assert torch.allclose(mixed.soft, 0.75 * soft + 0.25 * soft[partner])
    assert torch.equal(targets.mixed_with(partner, 1.0).hard, targets.hard)
