"""Drawn textures and their captions."""
import re

import numpy as np
import pytest
from class_names import CLASS_NAMES

from stablesdg.prior.textures import ATTRIBUTES, BASES, MARKS, draw


@pytest.fixture(scope="module")
def textures():
    return [draw(i, side=96) for i in range(96)]


def test_a_texture_depends_on_seed_and_index_alone(textures):
    again = draw(7, side=96)
    assert np.array_equal(again.image, textures[7].image) and again.caption == textures[7].caption
    assert not np.array_equal(draw(7, seed=1, side=96).image, textures[7].image)
    assert textures[0].image.shape == (96, 96, 3) and textures[0].image.dtype == np.uint8


def test_textures_cover_all_bases_and_marks_and_are_mostly_gray(textures):
    assert {t.attributes["base"] for t in textures} == set(BASES)
    assert {t.attributes["mark"] for t in textures} == set(MARKS)
    for texture in textures:
        assert all(value in ATTRIBUTES[name] for name, value in texture.attributes.items())
        gray = all(np.array_equal(texture.image[..., 0], texture.image[..., c]) for c in (1, 2))
        assert gray == (texture.attributes["tint"] == "none")
    assert 0.6 < np.mean([t.attributes["tint"] == "none" for t in textures]) < 0.95


def test_captions_say_what_was_drawn_and_no_class_of_the_steel_data_sets(textures):
    for texture in (draw(i, side=32) for i in range(400)):
        words = texture.caption.split()
        assert not any(name in texture.caption for name in CLASS_NAMES)
        if not re.search("<unknown>|a defect|a surface$", texture.caption):
            assert texture.attributes["base"] in words
            assert (texture.attributes["mark"] in words) == (texture.attributes["mark"] != "none")


def test_a_larger_texture_shows_more_and_not_the_same_larger():
    """Grain keeps its size in pixels: the share of power above half the Nyquist frequency stays the same."""
    def fine(side):
        shares = []
        for i in range(24):
            gray = draw(i, side=side).image.mean(-1)
            power = np.abs(np.fft.rfft2(gray - gray.mean())) ** 2
            f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
            shares.append(power[f > 0.25].sum() / power[f > 0.05].sum())
        return np.median(shares)

    assert fine(96) == pytest.approx(fine(192), rel=0.35)
