"""The probe: its optimum, its penalty and its folds."""
import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from stablesdg.recognise.probe import FOLDS, assign_folds, fit, fit_probe


def blobs(n, classes=3, d=5, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, d))
    return torch.from_numpy(centres[y] + spread * rng.normal(size=(n, d))), torch.from_numpy(y)


def test_the_fit_is_the_minimum_that_scipy_finds():
    x, y = blobs(60)

    def loss(parameters):
        weight, bias = parameters[:15].reshape(5, 3), parameters[15:]
        logits = x.numpy() @ weight + bias
        return np.mean(logsumexp(logits, axis=1) - logits[np.arange(60), y.numpy()]) + 0.05 * np.sum(weight**2)

    weight, _ = fit(x, y, 3, [1.0, 0.1])[-1]
    assert np.allclose(weight.numpy().ravel(), minimize(loss, np.zeros(18), tol=1e-10).x[:15], atol=1e-3)


def test_the_gradient_of_the_penalised_loss_vanishes_at_every_penalty():
    x, y = torch.randn(60, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    penalties = (1.0, 1e-3)
    for (weight, bias), penalty in zip(fit(x, y, 3, penalties), penalties):
        wrong = (x @ weight + bias).softmax(dim=1) - torch.nn.functional.one_hot(y, 3)
        assert wrong.mean(dim=0).abs().max() < 2e-5 and (x.T @ wrong / 60 + penalty * weight).abs().max() < 2e-5


def test_noise_wants_a_strong_penalty_and_clear_classes_a_weak_one():
    noisy, clear = blobs(30, spread=20.0), blobs(30, spread=0.05)
    assert fit_probe(*noisy, 3).penalty >= 1 > fit_probe(*clear, 3).penalty


def test_validation_images_choose_the_penalty():
    assert fit_probe(*blobs(30), 3, validation=blobs(90, spread=0.05, seed=1)).penalty < fit_probe(
        *blobs(30), 3, validation=blobs(90, spread=30.0, seed=1)).penalty


def test_probabilities_are_softer_at_a_higher_temperature():
    x, y = blobs(60)
    probe = fit_probe(x, y, 3, penalties=[0.1])
    hard, soft = probe.probabilities(x), probe.probabilities(x, 2.0)
    assert torch.allclose(soft.sum(dim=1), torch.ones(60, dtype=torch.float64))
    assert torch.equal(hard.argmax(dim=1), soft.argmax(dim=1)) and bool((soft.amax(1) < hard.amax(1)).all())


def test_a_feature_that_never_changes_does_no_harm():
    x, y = blobs(60)
    constant = torch.cat([x, torch.ones(60, 1, dtype=torch.float64)], dim=1)
    assert bool(fit_probe(constant, y, 3).logits(constant).isfinite().all())


def test_a_surface_lies_in_one_fold_and_each_fold_has_all_classes():
    classes = [k for k in range(3) for _ in range(20)]
    groups = [f"{k}-{i // 2}" for k in range(3) for i in range(20)]
    fold = assign_folds(classes, groups)
    assert len(fold.unique()) == FOLDS
    for group in set(groups):
        assert len({int(f) for f, g in zip(fold, groups) if g == group}) == 1
    for k in range(FOLDS):
        assert {c for c, f in zip(classes, fold) if f == k} == {0, 1, 2}


def test_a_balanced_fit_is_that_of_a_set_in_which_each_image_of_a_rare_class_stands_as_often_as_it_takes():
    x, y = blobs(40)
    rare = torch.cat([torch.arange(40)[y != 2], torch.arange(40)[y == 2][:3]])  # 14, 13 and 3 images
    x, y = x[rare], y[rare]
    weights = 14 * 13 * 3 // y.bincount()[y]
    weight, bias = fit(x, y, 3, [0.1], balanced=True)[0]
    again, offset = fit(x.repeat_interleave(weights, 0), y.repeat_interleave(weights), 3, [0.1])[0]
    assert torch.allclose(weight, again, atol=1e-4) and torch.allclose(bias, offset, atol=1e-4)
    plain = fit_probe(x, y, 3, penalties=[0.1])
    balanced = fit_probe(x, y, 3, penalties=[0.1], balanced=True)
    assert bool((balanced.probabilities(x)[:, 2] > plain.probabilities(x)[:, 2]).all())
