"""A defect keeps its pixels, and the ground comes to its level."""
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from stablesdg.compose.masks import distance_from
from stablesdg.compose.pairs import Composer, grounds_of_others, require_pairs
from stablesdg.compose.paste import (
    draw_placement,
    fit_ground,
    lay_in,
    match_light,
    match_moments,
    move,
    paste,
    region_to_redraw,
    surroundings,
)
from stablesdg.compose.seam import seam_ratio
from stablesdg.compose.weld import weld
from stablesdg.generation import plan
from stablesdg.storage.errors import UserError


def noise(seed, shape=(80, 100, 3), mean=120, spread=15):
    return np.random.default_rng(seed).normal(mean, spread, shape).clip(0, 255).round().astype(np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((80, 100), dtype=bool)
    mask[30:45, 20:40] = True
    return mask


def test_the_ground_gets_mean_and_deviation_of_what_surrounds_the_defect(mask):
    source, ground = noise(0, mean=90, spread=12), noise(1, mean=160, spread=20)
    ring = surroundings(mask)
    level = match_moments(ground, source, ring)
    for moment in (np.mean, np.std):
        assert np.abs(moment(level[ring], axis=0) - moment(source[ring].astype(float), axis=0)).max() < 1e-6
    assert not (ring & mask).any()


def test_the_ground_gets_the_light_of_the_source(mask):
    light = np.linspace(-50, 50, 100)[None, :, None]
    source, ground = noise(0) + light, noise(1) - light
    lit = match_light(ground, source, mask)
    slope = np.polyfit(np.arange(100), lit.mean(axis=(0, 2)), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)  # 100 gray levels over 100 pixels


def test_the_defect_keeps_its_pixels_and_the_ground_those_far_from_it(mask):
    source, ground = noise(0), noise(1)
    pasted = paste(source, mask, ground)
    assert (pasted[mask] == source[mask]).all()
    far = ~mask & ~region_to_redraw(mask, "seam")
    assert (pasted[far] == ground[far]).all()


@pytest.mark.parametrize("region", ["seam", "outside", "inside"])
def test_outside_of_the_region_nothing_changes_and_deep_inside_all_is_redrawn(mask, region):
    area = region_to_redraw(mask, region)
    pasted, redrawn = noise(0), noise(1)
    final = lay_in(redrawn, pasted, area)
    assert (final[~area] == pasted[~area]).all() and (final[area] != pasted[area]).any()
    assert (region == "inside") == bool((area & mask).any())


def test_a_defect_stays_in_the_image_and_at_the_border_that_it_touches(mask):
    rng = np.random.default_rng(0)
    places = [draw_placement(mask, rng) for _ in range(50)]
    for place in places:
        moved = move(mask, place)
        assert moved.sum() == mask.sum()
        assert not any(edge.any() for edge in (moved[0], moved[-1], moved[:, 0], moved[:, -1]))
    assert len({place.dx for place in places}) > 20 and {place.mirror_x for place in places} == {True, False}
    mask[:30, 20:40] = True
    for _ in range(20):
        place = draw_placement(mask, rng)
        assert place.dy == 0 and move(mask, place)[-1 if place.mirror_y else 0].any()


def test_an_image_is_moved_with_its_mask(mask):
    image = noise(0)
    place = draw_placement(mask, np.random.default_rng(4))
    assert (np.sort(move(image, place)[move(mask, place)], axis=0) == np.sort(image[mask], axis=0)).all()


@pytest.mark.parametrize("shape", [(80, 100, 3), (200, 150, 3), (30, 40, 3), (30, 300, 3)])
def test_a_ground_is_cut_or_continued_to_the_size_of_the_source(shape):
    ground = noise(0, shape)
    assert fit_ground(ground, (80, 100, 3), np.random.default_rng(0)).shape == (80, 100, 3)
    assert (fit_ground(noise(0), (80, 100, 3), np.random.default_rng(0)) == noise(0)).all()


def test_a_step_in_the_border_is_an_edge_and_a_smooth_border_is_a_blur():
    mask = np.zeros((200, 200), dtype=bool)
    mask[60:140, 50:150] = True
    plain = noise(0, (200, 200)).astype(float)
    band = region_to_redraw(mask, "seam")
    distance = distance_from(mask)
    assert 0.9 < seam_ratio(plain, mask) < 1.1
    assert seam_ratio(plain + 60 * (distance > 5), mask) > 1.2
    assert seam_ratio(np.where(band, gaussian_filter(plain, 2), plain), mask) < 0.9
    assert np.isnan(seam_ratio(plain, np.ones_like(mask)))


def test_pairs_are_of_different_surfaces_and_one_surface_alone_is_refused(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for i, file in enumerate(files):
        Image.fromarray(noise(i, (60, 60))).save(file)
    surfaces = dict(zip(files, "aabbc"))
    composer = Composer(files, surfaces)
    for seed in range(12):
        composite = composer.draw(files[0], seed)
        assert surfaces[composite.ground_file] != "a"
    again = composer.draw(files[0], 11)
    assert (again.pasted == composite.pasted).all() and again.place == composite.place
    assert grounds_of_others(files[4], files, surfaces) == files[:4]
    with pytest.raises(UserError, match="--ground"):
        require_pairs(files[:2], files[:2], surfaces)
    require_pairs(files[:2], [*files[:2], tmp_path / "clean.png"], surfaces)


def test_a_weld_does_not_depend_on_the_batch_and_keeps_latents_outside_of_the_region(toy):
    from stablesdg import load_stable_diffusion

    sd = load_stable_diffusion(toy)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    region = torch.zeros(2, 1, 64, 64)
    region[:, :, 24:40, 24:40] = 1
    path = plan(sd, 0.4, 5)
    both = weld(sd, x, region, [3, 4], "a photo", path, guidance=2)
    alone = weld(sd, x[1:], region[1:], [4], "a photo", path, guidance=2)
    assert (both[1:] - alone).abs().max() < 1 / 255
    kept = weld(sd, x, torch.zeros_like(region), [3, 4], "a photo", path, guidance=2)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    draws = torch.stack([torch.randn(sd.latent_shape(x), generator=g) for g in generators])
    with torch.no_grad():
        round_trip = sd.vae.decode(sd.vae.encode(x).sample(draws)).clamp(-1, 1)
    assert (kept - round_trip).abs().max() < 1e-4 and (both - kept).abs().max() > 1e-3
