"""Photographs: packed without near-duplicates, cropped, and described by what can be measured."""
from dataclasses import replace

import numpy as np
import pytest
from class_names import CLASS_NAMES
from PIL import Image

from stablesdg.data.images import save_image
from stablesdg.prior.descriptions import MATERIALS, PHOTOGRAPH_ATTRIBUTES, caption, describe
from stablesdg.prior.photographs import MAX_SIDE, open_pack, weight, write_pack
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import write_csv


def gray(values):
    """(H, W) between 0 and 1 -> (H, W, 3) uint8."""
    return (np.asarray(values)[..., None].repeat(3, axis=2).clip(0, 1) * 255).round().astype(np.uint8)


def ground(side=128, level=0.5, grain=0.01):
    return level + grain * np.random.default_rng(0).standard_normal((side, side))


@pytest.fixture
def folder(tmp_path):
    """Two sources: nine shots of almost one surface, and three surfaces."""
    surfaces, noise = tmp_path / "surfaces", np.random.default_rng(0)
    one = draw(0, side=96).image.astype(float)
    for i in range(9):
        again = (one + noise.normal(0, 1, one.shape)).clip(0, 255).astype(np.uint8)
        save_image(surfaces / "belt" / f"{i}.png", Image.fromarray(again))
    for i in range(3):
        save_image(surfaces / "metal-plate" / f"{i}.jpg", Image.fromarray(draw(i + 1, side=96 if i else 500).image))
    save_image(surfaces / "belt" / "black.png", Image.new("L", (96, 96)))
    return surfaces


def test_near_duplicates_and_empty_images_are_left_out_of_a_pack(folder, tmp_path):
    write_pack(folder, tmp_path / "pack.safetensors")
    sources = open_pack(tmp_path / "pack.safetensors").sources
    assert {name: len(group) for name, group in sources.items()} == {"belt": 1, "metal-plate": 3}


def test_a_pack_keeps_small_jpegs_as_they_are_and_shrinks_large_ones(folder, tmp_path):
    write_pack(folder, tmp_path / "pack.safetensors")
    pack = open_pack(tmp_path / "pack.safetensors")
    large, small, _ = pack.sources["metal-plate"]
    assert pack.read(large).size == (MAX_SIDE, MAX_SIDE)
    assert np.array_equal(np.asarray(pack.read(small)), np.asarray(Image.open(folder / small.file).convert("RGB")))


def test_a_manifest_without_the_column_file_is_said(folder, tmp_path):
    write_csv(folder / "manifest.csv", ["image", "words"], [("belt/0.png", "rubber")])
    with pytest.raises(UserError, match="manifest.csv has no column file"):
        write_pack(folder, tmp_path / "pack.safetensors")


def test_a_manifest_says_which_files_count_and_what_they_are_of(folder, tmp_path):
    write_csv(folder / "manifest.csv", ["file", "repository", "licence", "words"],
              [["metal-plate/1.jpg", "someone/plates", "CC0", "rusty plate"]])
    write_pack(folder, tmp_path / "pack.safetensors")
    only, = open_pack(tmp_path / "pack.safetensors").photographs
    assert (only.file, only.origin) == ("metal-plate/1.jpg", "someone/plates (CC0)")
    assert describe(gray(ground()), only.words)["material"] == "rust"


def test_crops_depend_on_seed_and_index_alone_and_have_any_side(folder, tmp_path):
    write_pack(folder, tmp_path / "pack.safetensors")
    pack = open_pack(tmp_path / "pack.safetensors")
    first = pack.draw(5, seed=0, side=64)
    again = pack.draw(5, seed=0, side=64)
    assert np.array_equal(first.image, again.image) and first.caption == again.caption
    assert not np.array_equal(first.image, pack.draw(5, seed=1, side=64).image)
    assert pack.draw(6, seed=0, side=120).image.shape == (120, 120, 3)


def test_a_source_of_like_images_weighs_less_than_one_of_as_many_unlike_ones():
    unlike = np.random.default_rng(0).standard_normal((50, 576))
    like = unlike[:1] + 0.5 * unlike
    assert weight(unlike) > 1.5 * weight(like) > 1.5 * weight(like[:5])


def test_sources_are_drawn_from_by_their_weights(folder, tmp_path):
    write_pack(folder, tmp_path / "pack.safetensors")
    pack = replace(open_pack(tmp_path / "pack.safetensors"), weights={"belt": 1.0, "metal-plate": 3.0})
    materials = [pack.draw(i, 0, 64).attributes["material"] for i in range(200)]
    assert np.mean([material == "metal" for material in materials]) == pytest.approx(0.75, abs=0.1)


def test_what_is_measured_is_what_is_there():
    x, y = np.meshgrid(np.arange(128), np.arange(128))
    assert describe(gray(ground()))["mark"] == "none" and describe(gray(ground()))["level"] == "gray"
    assert describe(gray(ground(level=0.1)))["level"] == "dark"
    assert describe(gray(ground(level=0.9)))["level"] == "bright"
    centres = ((30, 40), (90, 30), (60, 90))
    spots = ground() - 0.3 * np.any([(x - a) ** 2 + (y - b) ** 2 < 16 for a, b in centres], axis=0)
    told = describe(gray(spots))
    assert (told["mark"], told["tone"], told["quantity"]) == ("spots", "dark", "few")
    told = describe(gray(ground() + 0.3 * ((abs(x - 50) < 2) & (abs(y - 64) < 50))))
    assert (told["mark"], told["tone"], told["orientation"]) == ("lines", "bright", "vertical")
    assert describe(gray(0.5 + 0.1 * np.sin(y / 3)))["orientation"] == "horizontal"
    assert describe(gray(0.5 + 0.1 * np.sin((x + y) / 3)))["orientation"] == "diagonal"
    assert describe(gray(ground(grain=0.05)))["grain"] == "fine" and describe(gray(ground(grain=0)))["grain"] == "clean"
    assert describe(gray(ground()) * np.array([1, 0.8, 0.8]))["tint"] == "reddish"


def test_captions_hold_no_class_of_the_data_sets(folder, tmp_path):
    write_pack(folder, tmp_path / "pack.safetensors")
    pack = open_pack(tmp_path / "pack.safetensors")
    captions = [pack.draw(i, 0, 64).caption for i in range(60)]
    values = [value for values in PHOTOGRAPH_ATTRIBUTES.values() for value in values]
    words = " ".join([*captions, *MATERIALS.values(), *values])
    assert not any(name in words for name in CLASS_NAMES)
    assert any("metal" in c for c in captions)
    assert all(c.startswith(("a photo of", "an image of", "a close")) for c in captions)


def test_attributes_that_no_one_knows_stay_out_of_captions():
    nothing = dict.fromkeys(PHOTOGRAPH_ATTRIBUTES)
    assert {caption(np.random.default_rng(i), nothing).removesuffix(" surface") for i in range(20)} == {
        "a photo of", "an image of", "a close-up of"}


def test_a_folder_without_photographs_and_a_file_that_is_no_pack_are_refused(tmp_path, nano):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no photograph"):
        write_pack(tmp_path / "empty", tmp_path / "pack.safetensors")
    with pytest.raises(UserError, match="holds no photographs"):
        open_pack(nano / "features.safetensors")
