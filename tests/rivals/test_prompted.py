"""Textual Inversion and DreamBooth: what learns, from what, and that both agree with the stages of the paper."""
import dataclasses

import pytest
import torch

from stablesdg.app.rivals import class_posteriors
from stablesdg.models.stable_diffusion import load_stable_diffusion
from stablesdg.models.vae import Posterior
from stablesdg.rivals import dreambooth, textual_inversion
from stablesdg.rivals.common import Training, fit
from stablesdg.rivals.textual_inversion import Prompted
from stablesdg.storage.checkpoint import Checkpoint
from stablesdg.train import adapt

PROMPT = "A photo of <unknown>"


def posteriors(n, seed=0, side=8):
    generator = torch.Generator().manual_seed(seed)
    shape = (4, side, side)
    return [Posterior(torch.randn(shape, generator=generator), torch.full(shape, -4.0)) for _ in range(n)]


@pytest.fixture
def prompted(nano):
    return Prompted(load_stable_diffusion(nano), posteriors(3), None, PROMPT, guidance=1.5, steps=2)


def test_class_images_of_another_size_are_drawn_anew(prompted, tmp_path, capsys):
    for side, there in ((8, 0), (8, 2), (4, 0)):
        own = dataclasses.replace(prompted, posteriors=posteriors(3, side=side))
        others, _ = class_posteriors(tmp_path, own, "A photo of steel", 2)
        assert f": {there} are there" in capsys.readouterr().out
        assert [other.mean.shape[-1] for other in others] == [side, side]


def test_textual_inversion_learns_the_vectors_that_train_ti_learns(prompted, nano, tmp_path):
    rival = textual_inversion.textual_inversion(prompted, "<unknown>", lr=5e-3)
    start = prompted.sd.text.pretrained_vectors("<unknown>")
    frozen = {name: p.clone() for name, p in prompted.sd.unet.named_parameters()}
    fit(rival, 3, Training(4, 2), Checkpoint(tmp_path / "a" / "c.safetensors", {}))
    (ours,) = rival.networks.parameters()
    sd = load_stable_diffusion(nano)
    v_d = sd.text.set_vectors("<unknown>", sd.text.pretrained_vectors("<unknown>"))
    adapt(sd, {"v_d": v_d}, posteriors(3), [], PROMPT, Checkpoint(tmp_path / "b" / "c.safetensors", {}), iterations=4,
          batch_size=2, lr=5e-3, seed=0)
    assert torch.equal(ours, v_d) and not torch.equal(ours, start)
    assert all(torch.equal(frozen[name], p) for name, p in prompted.sd.unet.named_parameters())


def test_without_class_images_dreambooth_is_the_papers_full_adaptation(prompted, nano, tmp_path):
    rival = dreambooth.dreambooth(prompted, [], lr=1e-4)
    fit(rival, 3, Training(2, 2), Checkpoint(tmp_path / "a" / "c.safetensors", {}))
    sd = load_stable_diffusion(nano)
    networks = {"unet": sd.unet.requires_grad_(), "text_encoder": sd.text.model.requires_grad_()}
    parameters = {f"{part}.{key}": p for part, network in networks.items() for key, p in network.named_parameters()}
    adapt(sd, parameters, posteriors(3), [], PROMPT, Checkpoint(tmp_path / "b" / "c.safetensors", {}), iterations=2,
          batch_size=2, lr=1e-4, seed=0)
    ours = dict(rival.networks["adapted"].named_parameters())
    assert ours.keys() == parameters.keys()
    assert all(torch.equal(ours[name], p) for name, p in parameters.items())


def test_dreambooth_adds_the_loss_of_the_class_images_under_their_own_prompt(prompted):
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    others = posteriors(1, seed=9)
    total = dreambooth.dreambooth(prompted, others, "A photo of steel").phases[0].loss([0, 2], generators[0])
    own = prompted.loss(prompted.posteriors, [0, 2], PROMPT, generators[1])
    torch.randint(2**31, (), generator=generators[1])  # which class images
    prior = prompted.loss(others, [0, 0], "A photo of steel", generators[1])
    assert torch.equal(total, own + prior) and prior > 0


def test_dreambooths_gradients_reach_both_networks(prompted):
    wide = Prompted(prompted.sd, posteriors(2, side=16), None, PROMPT, 1.5)  # 2 x 2 positions at the lowest level
    rival = dreambooth.dreambooth(wide, posteriors(2, seed=9, side=16))
    loss = rival.phases[0].loss([0, 1], torch.Generator().manual_seed(0))
    named = dict(rival.networks.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    assert [name for name, g in zip(named, gradients) if g is None or g.abs().max() == 0] == []


def test_images_of_a_prompt_depend_on_their_seed_alone_and_have_the_least_size(prompted):
    narrow = Posterior(torch.zeros(4, 8, 6), torch.zeros(4, 8, 6))
    mixed = Prompted(prompted.sd, [*prompted.posteriors, narrow], None, PROMPT, 1.5, 2)
    together, alone = mixed.draw([3, 4]), mixed.draw([4])
    assert together.shape == (2, 3, 8 * prompted.sd.vae.factor, 6 * prompted.sd.vae.factor)
    assert torch.allclose(together[1], alone[0], atol=1e-4) and not torch.allclose(together[0], together[1], atol=1e-2)
