"""DCGAN: shapes, gradients, seeds, resuming, and whether it can learn four images."""
import pytest
import torch

from stablesdg.rivals import dcgan
from stablesdg.rivals.common import Training, fit
from stablesdg.storage.checkpoint import Checkpoint


def images(side=64, n=4):
    return torch.rand((n, 3, side, side), generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("side", dcgan.SIDES)
def test_both_networks_have_the_side_that_was_asked_for(side):
    z = dcgan.draw_codes(2, torch.Generator())
    x = dcgan.Generator(side, 64)(z)
    assert x.shape == (2, 3, side, side) and x.abs().max() <= 1
    assert dcgan.Discriminator(side, 64)(x).shape == (2,)


def test_at_64_pixels_the_channels_are_those_of_the_papers_figure_1():
    assert dcgan.channels(64, dcgan.WIDTH) == [1024, 512, 256, 128]
    weights = [p for p in dcgan.Generator(64).parameters() if p.ndim == 4]
    assert [tuple(w.shape[:2]) for w in weights] == [(100, 1024), (1024, 512), (512, 256), (256, 128), (128, 3)]
    assert max(abs(float(w.detach().std()) - 0.02) for w in weights) < 1e-3


@pytest.mark.parametrize("few", [True, False])
def test_gradients_reach_every_parameter(few):
    rival = dcgan.dcgan(images(), width=16, augmentation=few)
    for phase in rival.phases:
        network = rival.networks[phase.network]
        loss = phase.loss([0, 1, 2, 3], torch.Generator().manual_seed(0))
        for p, gradient in zip(network.parameters(), torch.autograd.grad(loss, list(network.parameters()))):
            assert gradient.abs().max() > 0, p.shape


def test_the_losses_are_those_of_the_paper():
    rival = dcgan.dcgan(images(), width=16, augmentation=False)
    G, D = rival.networks["generator"], rival.networks["discriminator"]
    z = dcgan.draw_codes(4, torch.Generator().manual_seed(0))
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    real, fake = D(images()), D(G(z))
    by_hand = [bce(real, torch.ones(4)) + bce(fake, torch.zeros(4)), bce(fake, torch.ones(4))]
    ours = [phase.loss([0, 1, 2, 3], torch.Generator().manual_seed(0)) for phase in rival.phases]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, by_hand))


def test_augmentation_is_on_for_fewer_than_1000_images():
    by_default, off = (dcgan.dcgan(images(), width=16, augmentation=a).phases[0] for a in (None, False))
    losses = [phase.loss([0, 1], torch.Generator().manual_seed(0)) for phase in (by_default, off)]
    assert losses[0] != losses[1]
    many = images(n=4)[:1].expand(1000, -1, -1, -1)
    by_default, off = (dcgan.dcgan(many, width=16, augmentation=a).phases[0] for a in (None, False))
    losses = [phase.loss([0, 1], torch.Generator().manual_seed(0)) for phase in (by_default, off)]
    assert losses[0] == losses[1]


def test_a_stopped_training_ends_with_the_same_bytes_and_its_images_depend_on_their_seeds_alone(tmp_path):
    whole, part = dcgan.dcgan(images(), width=16), dcgan.dcgan(images(), width=16)
    fit(whole, 4, Training(6, 4), Checkpoint(tmp_path / "a" / "c.safetensors", {}))
    stops = iter([False, False, True])
    checkpoint = Checkpoint(tmp_path / "b" / "c.safetensors", {})
    with pytest.raises(KeyboardInterrupt):
        fit(part, 4, Training(6, 4), checkpoint, lambda: next(stops))
    resumed = dcgan.dcgan(images(), width=16, seed=9)
    fit(resumed, 4, Training(6, 4, resume=True), checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(whole.networks.state_dict().values(),
                                                 resumed.networks.state_dict().values()))
    together, alone = whole.draw([3, 4, 5]), whole.draw([4])
    assert torch.allclose(together[1], alone[0], atol=1e-6) and not torch.allclose(together[0], together[1], atol=1e-3)


def test_it_learns_four_images(tmp_path):
    """Four images of a soft spot, each at another place: what is drawn comes nearer to one of them."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    spots = [1.6 * torch.exp(-((columns - a) ** 2 + (rows - b) ** 2) / 0.15) - 0.8 for a in (-0.5, 0.5)
             for b in (-0.5, 0.5)]
    x = torch.stack(spots)[:, None].expand(4, 3, 64, 64).contiguous()
    rival = dcgan.dcgan(x, width=64, augmentation=False)
    before = spread(rival.draw(range(16)), x)
    fit(rival, 4, Training(600, 4), Checkpoint(tmp_path / "c.safetensors", {}))
    assert spread(rival.draw(range(16)), x) < before / 2


def spread(drawn, x):
    """The mean distance of drawn images from the nearest of x."""
    return float((drawn[:, None] - x[None]).abs().mean(dim=(2, 3, 4)).min(dim=1).values.mean())
