"""The loop of the rivals, and differentiable augmentation."""
import csv

import pytest
import torch
from PIL import Image
from torch import nn

from stablesdg.rivals import augmentation
from stablesdg.rivals.common import Learning, Phase, Rival, Training, decay_of, fit, read_squares
from stablesdg.storage.checkpoint import Checkpoint
from stablesdg.storage.errors import UserError

CHANGES = (augmentation.change_brightness, augmentation.change_contrast, augmentation.translate, augmentation.cut_out,
           augmentation.augment)


def batch(B=4, side=16):
    return torch.rand((B, 3, side, side), generator=torch.Generator().manual_seed(1)) * 2 - 1


def two_lines(seed=0, averaged="a"):
    """Two linear networks: `a` goes to the mean of random numbers, `b` follows a."""
    torch.manual_seed(seed)
    nets = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)})

    def loss_a(indices, generator):
        x = torch.rand((len(indices), 3), generator=generator)
        return (nets["a"](x) - x.mean(dim=1, keepdim=True)).square().mean()

    def loss_b(indices, generator):
        x = torch.rand((len(indices), 3), generator=generator)
        return (nets["b"](x) - nets["a"](x)).square().mean()

    return Rival(nets, {"a": Learning(1e-2), "b": Learning(1e-2, most_gradient=1.0)},
                 [Phase("A", "a", loss_a), Phase("B", "b", loss_b, every=3)], lambda seeds: torch.zeros(len(seeds)),
                 averaged=averaged, half_life=8)


def state(rival):
    return torch.cat([p.detach().flatten() for p in rival.networks.parameters()])


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_augmentation_lets_gradients_through_and_follows_its_generator(change):
    x = batch().requires_grad_()
    y = change(x, torch.Generator().manual_seed(0))
    y.square().sum().backward()
    assert y.shape == x.shape and x.grad.abs().flatten(1).sum(dim=1).min() > 0
    assert torch.equal(y, change(x, torch.Generator().manual_seed(0)))
    assert not torch.equal(y, change(x, torch.Generator().manual_seed(1)))


def test_brightness_moves_by_half_a_level_at_most_and_contrast_keeps_the_mean():
    x = batch(64)
    shift = augmentation.change_brightness(x, torch.Generator().manual_seed(0)) - x
    assert shift.flatten(1).std(dim=1).max() < 1e-6 and 0.4 < shift.abs().max() <= 0.5
    y = augmentation.change_contrast(x, torch.Generator().manual_seed(0))
    assert torch.allclose(y.mean(dim=(1, 2, 3)), x.mean(dim=(1, 2, 3)), atol=1e-6)
    assert torch.all((y.std(dim=(1, 2, 3)) / x.std(dim=(1, 2, 3)) - 1).abs() <= 0.5 + 1e-6)


def test_translation_moves_whole_images_by_an_eighth_at_most_and_cutout_takes_a_quarter_at_most():
    ones = torch.ones(256, 3, 16, 16)
    moved = augmentation.translate(ones, torch.Generator().manual_seed(0)).mean(dim=(1, 2, 3))
    assert moved.min() == (14 / 16) ** 2 and moved.max() == 1
    left = augmentation.cut_out(ones, torch.Generator().manual_seed(0)).mean(dim=(1, 2, 3))
    assert left.min() == 0.75 and left.max() <= 1 - (4 / 16) ** 2  # a corner of the hole is always inside


def test_squares_are_read_in_three_channels_from_gray_images_of_any_shape(tmp_path):
    Image.new("L", (20, 10), 255).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), (0, 0, 0)).save(tmp_path / "b.png")
    x = read_squares([tmp_path / "a.png", tmp_path / "b.png"], 16)
    assert x.shape == (2, 3, 16, 16) and x[0].min() == 1 and x[1].max() == -1


def test_a_stopped_run_ends_with_the_bytes_of_one_that_never_was(tmp_path):
    whole, part = two_lines(), two_lines()
    progress = fit(whole, 10, Training(120, 4), Checkpoint(tmp_path / "whole" / "c.safetensors", {}))
    stops = iter([False] * 70 + [True])
    checkpoint = Checkpoint(tmp_path / "part" / "c.safetensors", {})
    with pytest.raises(KeyboardInterrupt):
        fit(part, 10, Training(120, 4), checkpoint, lambda: next(stops))
    again = two_lines(seed=3)  # whatever it starts from, the checkpoint counts
    resumed = fit(again, 10, Training(120, 4, resume=True), checkpoint)
    assert torch.equal(state(whole), state(again))
    rows = [[{k: v for k, v in row.items() if k != "minutes"} for row in p.rows] for p in (progress, resumed)]
    assert rows[0] == rows[1] and [row["step"] for row in rows[0]] == [50, 100, 120]
    with open(tmp_path / "part" / "log.csv") as file:
        assert list(csv.DictReader(file))[1]["A"] == str(rows[0][1]["A"])


def test_each_phase_moves_its_own_network_alone_and_as_often_as_it_says(tmp_path):
    rival = two_lines(averaged=None)
    before = {name: [p.detach().clone() for p in net.parameters()] for name, net in rival.networks.items()}
    only_b = Rival(rival.networks, rival.learning, rival.phases[1:], rival.draw)
    fit(only_b, 10, Training(2, 4), Checkpoint(tmp_path / "c.safetensors", {}))
    assert all(torch.equal(a, b) for a, b in zip(before["a"], rival.networks["a"].parameters()))
    moved = [(a - b).detach().abs().max() for a, b in zip(before["b"], rival.networks["b"].parameters())]
    assert all(float(m) == pytest.approx(1e-2, rel=1e-3) for m in moved)  # one step of Adam: steps 0 and 1, every 3


def test_the_average_takes_the_networks_place_at_the_end(tmp_path):
    averaged, plain = two_lines(), two_lines(averaged=None)
    for name, rival in (("a", averaged), ("b", plain)):
        fit(rival, 10, Training(40, 4), Checkpoint(tmp_path / name / "c.safetensors", {}))
    assert not torch.equal(averaged.networks["a"].weight, plain.networks["a"].weight)
    assert torch.equal(averaged.networks["b"].weight, plain.networks["b"].weight)


def test_the_average_forgets_half_after_its_half_life():
    assert decay_of(100, 10, 10**6) ** 10 == pytest.approx(0.5)
    assert decay_of(100, 10, 1) == pytest.approx(0.5 ** 20)  # after 10 images the half-life is half an image


def test_a_budget_of_time_ends_the_loop_and_counts_earlier_calls(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.safetensors", {})
    first = fit(two_lines(), 10, Training(10**6, 4, seconds=0.05), checkpoint)
    second = fit(two_lines(), 10, Training(10**6, 4, seconds=0.05, resume=True), checkpoint)
    assert 0 < first.step == second.step and first.seconds == second.seconds


def test_an_infinite_loss_is_said(tmp_path):
    rival = two_lines()
    bad = Rival(rival.networks, rival.learning, [Phase("A", "a", lambda indices, generator: torch.inf * sum(
        p.sum() for p in rival.networks["a"].parameters()))], rival.draw)
    with pytest.raises(UserError, match="infinite"):
        fit(bad, 10, Training(50, 4), Checkpoint(tmp_path / "c.safetensors", {}))
