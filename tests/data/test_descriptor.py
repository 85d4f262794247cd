"""The texture descriptor and the hash: what they must not see, and what a hash cannot see."""
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from stablesdg.data.descriptor import (
    HASH_BITS,
    LBP_BINS,
    binary_patterns,
    bits_apart,
    count_near_pairs,
    describe,
    difference_hash,
    radial_spectrum,
)

LEVEL_VALUES = 2  # at the end of a descriptor: mean gray level and contrast


def texture(side=64, seed=0, grain=2.0):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), grain)
    return 128 + 30 * noise / noise.std()


@pytest.mark.parametrize("change", [lambda x: x + 40, lambda x: 128 + 1.5 * (x - 128)], ids=["brighter", "contrast"])
def test_light_changes_the_last_two_values_alone(change):
    before, after = describe(texture()), describe(change(texture()))
    assert np.allclose(before[:-LEVEL_VALUES], after[:-LEVEL_VALUES], atol=1e-6)
    assert not np.allclose(before[-LEVEL_VALUES:], after[-LEVEL_VALUES:])


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90, np.transpose])
def test_mirrored_and_turned_images_have_one_descriptor(turn):
    assert np.allclose(describe(texture()), describe(turn(texture())), atol=1e-9)


def test_grain_changes_the_descriptor_far_more_than_another_piece_of_the_same_texture():
    same = np.linalg.norm(describe(texture(seed=0)) - describe(texture(seed=1)))
    assert np.linalg.norm(describe(texture()) - describe(texture(grain=4.0))) > 5 * same


def test_binary_patterns_are_counted_as_a_loop_over_pixels_counts_them():
    gray, radius = texture(side=9), 1
    padded, counts = np.pad(gray, radius, mode="edge"), np.zeros(LBP_BINS)
    for y in range(9):
        for x in range(9):
            ring = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
            bits = [padded[y + 1 + dy, x + 1 + dx] >= gray[y, x] for dy, dx in ring]
            changes = sum(a != b for a, b in zip(bits, bits[1:] + bits[:1]))
            counts[sum(bits) if changes <= 2 else LBP_BINS - 1] += 1
    assert np.allclose(binary_patterns(gray, radius), counts / 81)


def test_a_wave_has_its_power_in_the_ring_of_its_frequency():
    x = np.arange(128)
    shares = [radial_spectrum(np.tile(np.cos(2 * np.pi * x * f), (128, 1))) for f in (10 / 128, 27 / 128)]
    assert shares[0].argmax() < shares[1].argmax() and max(shares[0]) > np.log10(0.9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 3)])
def test_any_size_has_a_descriptor_and_a_flat_image_too(shape):
    assert np.isfinite(describe(np.full(shape, 100.0))).all() and describe(np.zeros(shape)).shape == (56,)


# ---- the hash ---------------------------------------------------------------------------------------------------


def test_the_hash_finds_an_exact_duplicate_and_misses_a_shifted_crop():
    strip = gaussian_filter(np.random.default_rng(0).normal(size=(64, 160)), 3)
    strip = (128 + 40 * strip / strip.std()).clip(0, 255).astype(np.uint8)
    first, shifted = strip[:, :64], strip[:, 24:88]  # they share 62 percent
    hashes = np.stack([difference_hash(Image.fromarray(x)) for x in (first, first.copy(), shifted)])
    assert hashes.shape == (3, HASH_BITS)
    duplicate, moved = bits_apart(hashes, [(0, 1), (0, 2)])
    assert duplicate == 0 and moved > 10
    assert count_near_pairs(hashes, (0, 10)) == [1, 1]


def test_a_brighter_copy_has_the_same_hash():
    gray = texture().clip(60, 190).astype(np.uint8)
    hashes = np.stack([difference_hash(Image.fromarray(x)) for x in (gray, gray + 50)])
    assert bits_apart(hashes, [(0, 1)])[0] <= 2


def test_near_pairs_are_counted_as_a_loop_over_pairs_counts_them():
    hashes = np.random.default_rng(0).random((40, HASH_BITS)) < 0.5
    apart = [int((hashes[i] != hashes[j]).sum()) for i in range(40) for j in range(i + 1, 40)]
    assert count_near_pairs(hashes, (20, 30), rows_at_once=7) == [sum(d <= n for d in apart) for n in (20, 30)]
