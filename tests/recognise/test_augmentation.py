"""Strong augmentation, CutMix and mixup of a batch."""
import pytest
import torch

from stablesdg.recognise.augmentation import (
    add_noise,
    augment_strong,
    blur,
    change_light,
    change_view,
    cut_out,
    mix_images,
    partners,
)
from stablesdg.recognise.classifiers import normalise
from stablesdg.recognise.training import Recipe, augmented


def images(n=6, height=40, width=40):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_strong_augmentation_keeps_shape_and_range_and_changes_every_image():
    x = images()
    made = augment_strong(x, seeded())
    assert made.shape == x.shape and made.dtype == x.dtype
    assert float(made.min()) >= 0 and float(made.max()) <= 1
    assert all(float((a - b).abs().mean()) > 0.01 for a, b in zip(x, made))


def test_strong_augmentation_follows_from_the_generator_alone():
    x = images()
    before = x.clone()
    assert torch.equal(augment_strong(x, seeded()), augment_strong(x, seeded()))
    assert not torch.equal(augment_strong(x, seeded()), augment_strong(x, seeded(1)))
    assert torch.equal(x, before)


def test_light_keeps_the_order_of_gray_levels_and_changes_their_mean():
    x = images(20)[:, :1] * 0.5 + 0.25  # far enough from black and white
    made = change_light(x, seeded())
    order = x.flatten(1).argsort(dim=1)
    assert (made.flatten(1).gather(1, order).diff(dim=1) >= 0).all()
    assert ((made - x).mean(dim=(1, 2, 3)).abs() > 0.01).float().mean() > 0.7


@pytest.mark.parametrize("change, most", [(blur, 0.5), (add_noise, 0.3)])
def test_blur_and_noise_change_about_half_of_the_images_a_little(change, most):
    x = images(200)
    difference = (change(x, seeded()) - x).abs().flatten(1).amax(dim=1)
    assert 70 < int((difference == 0).sum()) < 130 and 0 < float(difference.max())
    assert float((change(x, seeded()) - x).abs().mean(dim=(1, 2, 3)).max()) < most


def test_strong_augmentation_is_view_light_blur_noise_and_cutout_in_turn():
    x, generator = images(), seeded()
    made = change_light(change_view(x, generator, False), generator)
    made = cut_out(add_noise(blur(made, generator), generator).clamp(0, 1), generator)
    assert torch.equal(augment_strong(x, seeded()), made)


def test_a_gray_image_stays_gray():
    made = augment_strong(images()[:, :1].expand(-1, 3, -1, -1), seeded())
    assert torch.allclose(made[:, 0], made[:, 1], atol=1e-5) and torch.allclose(made[:, 0], made[:, 2], atol=1e-5)


def test_gray_images_are_augmented_in_one_channel_as_they_would_be_in_three():
    x = (255 * images()[:, :1]).to(torch.uint8).expand(-1, 3, -1, -1)
    expected = normalise(255 * augment_strong(x.float() / 255, seeded()))
    assert torch.allclose(augmented(x, Recipe(augment="strong"), seeded()), expected, atol=1e-5)
    coloured = (255 * images()).to(torch.uint8)
    expected = normalise(255 * augment_strong(coloured.float() / 255, seeded()))
    assert torch.equal(augmented(coloured, Recipe(augment="strong"), seeded()), expected)


@pytest.mark.parametrize("upright", [True, False])
def test_upright_images_are_not_turned(upright):
    stripes = torch.zeros(40, 3, 64, 64)
    stripes[:, :, ::8] = stripes[:, :, 1::8] = stripes[:, :, 2::8] = 1  # along the rows
    made = change_view(stripes, seeded(), upright)
    across = (made[:, :, 1:] - made[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    along = (made[:, :, :, 1:] - made[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    turned = int((along > across).sum())
    assert turned == 0 if upright else 10 <= turned <= 30


def test_half_of_the_images_lose_a_square():
    x = images(200)
    changed = (cut_out(x, seeded()) != x).any(dim=1)
    share = changed.float().mean(dim=(1, 2))
    assert 60 <= int((share > 0).sum()) <= 140 and float(share.max()) <= 0.42**2
    for one in changed[share > 0]:
        rows, columns = one.any(dim=1).nonzero()[:, 0], one.any(dim=0).nonzero()[:, 0]
        assert int(one.sum()) == len(rows) * len(columns)  # a full rectangle


def test_mixup_adds_images_and_cutmix_lays_a_box():
    x, partner = images(), partners(6, seeded(2))
    mixed, share = mix_images(x, partner, "mixup", seeded())
    assert torch.allclose(mixed, share * x + (1 - share) * x[partner])
    mixed, share = mix_images(x, partner, "cutmix", seeded())
    own = (mixed == x).all(dim=1) | (partner == torch.arange(6)).view(-1, 1, 1)
    assert bool((own | (mixed == x[partner]).all(dim=1)).all())
    other = [i for i in range(6) if int(partner[i]) != i]
    assert float(own[other].float().mean()) == pytest.approx(share)
    kinds = {torch.equal(mix_images(x, partner, "both", seeded(seed))[0], mix_images(x, partner, "mixup",
                                                                                     seeded(seed))[0])
             for seed in range(12)}
    assert kinds == {True, False}
