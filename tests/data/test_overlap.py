"""Which images share surface: crops of one ground, copies, and nothing else."""
import io
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
from crops import BASES, grounds, overlapping_crops
from PIL import Image

from stablesdg.data import links, overlap
from stablesdg.data.copies import find_copies
from stablesdg.data.folders import list_images
from stablesdg.data.images import save_image
from stablesdg.data.overlap import find_overlaps, find_overlaps_across
from stablesdg.data.surfaces import components, find_links, is_a_pattern
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_crops_that_share_surface_are_found_with_their_shift_and_share(share):
    images, expected = [], []
    for k, ground in enumerate(grounds(BASES, 320)):
        shift = round(128 * (1 - share))
        images += [ground[20:148, 20:148], ground[23:151, 20 + shift:148 + shift]]
        expected.append((2 * k, 2 * k + 1, 3, shift))
    found = find_overlaps(images)
    assert [(o.i, o.j, o.dy, o.dx) for o in found] == expected
    assert all(o.share == pytest.approx(share * 125 / 128, abs=0.01) and o.correlation > 0.8 for o in found)


def test_crops_with_noise_of_their_own_are_found_where_the_peak_is_clear():
    ground, rng = grounds(["grainy"], 320)[0], np.random.default_rng(0)
    a, b = (ground[20:148, x:x + 128] + 0.35 * ground.std() * rng.standard_normal((128, 128)) for x in (20, 84))
    overlap, = find_overlaps([a, b])
    assert (overlap.dy, overlap.dx) == (0, 64) and 0.5 <= overlap.correlation < 0.7


def test_crops_of_one_texture_that_share_nothing_are_not_found():
    images = [ground[y:y + 128, x:x + 128] for ground in grounds(BASES, 400) for y in (0, 200) for x in (0, 200)]
    assert find_overlaps(images) == [] and find_copies(images) == []


def test_the_first_look_passes_over_no_pair_that_is_found_when_all_are_compared_in_full(monkeypatch):
    images = overlapping_crops()
    found = [(o.i, o.j, o.dy, o.dx) for o in find_overlaps(images)]
    monkeypatch.setattr(overlap, "MIN_LOOK_PEAK", -np.inf)
    assert found == [(o.i, o.j, o.dy, o.dx) for o in find_overlaps(images)]
    assert len(found) > 12


def test_mirroring_leaves_nothing_to_be_found():
    images = [g[:128, x:x + 128] for g in grounds(BASES, 256) for x in (0, 40)]
    assert len(find_overlaps(images)) == len(BASES) and find_overlaps(images, mirrored=True) == []


def test_overlap_is_found_between_images_of_other_sizes_and_after_jpeg():
    ground = grounds(["grainy"], 320)[0]
    with io.BytesIO() as file:
        Image.fromarray(ground.astype(np.uint8)).crop((60, 40, 200, 140)).save(file, "JPEG", quality=60)
        compressed = np.asarray(Image.open(file), dtype=float)
    overlap, = find_overlaps([ground[:128, :128], compressed])
    assert (overlap.dy, overlap.dx) == (40, 60) and overlap.share == pytest.approx(88 * 68 / (140 * 100), abs=0.01)


def test_copies_are_found_mirrored_turned_resized_and_reencoded():
    a, b = grounds(["wavy", "mottled"], 128)
    small = np.asarray(Image.fromarray(a.astype(np.uint8)).resize((100, 100), Image.Resampling.LANCZOS))
    assert find_copies([a, b, np.rot90(a)[:, ::-1], b[::-1], small]) == [(0, 2), (0, 4), (1, 3), (2, 4)]


def test_flat_images_are_no_copies_of_each_other():
    images = [np.full((16, 16), gray) for gray in (10, 10, 200)]
    assert find_overlaps(images) == [] and find_copies(images) == []


def test_images_of_very_different_sizes_are_not_shrunk_alike(tmp_path):
    """Two overlapping crops of 200 pixels are found, and so are two halves of a photograph of 3000 beside them."""
    small = np.asarray(draw(3, side=300).image)
    large = np.random.default_rng(0).integers(0, 255, (150, 250), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    images = {"a": small[:200, :200], "b": small[60:260, 60:260], "c": large[:, :3000], "d": large[:, 1000:]}
    for name, pixels in images.items():
        save_image(tmp_path / f"{name}.png", Image.fromarray(pixels))
    files = {file.stem: file for file in list_images(tmp_path)}
    pairs = find_links(files).pairs
    assert pairs == {("a", "b"), ("c", "d")} and components(files, pairs) == {"a": "a", "b": "a", "c": "c", "d": "c"}


def test_overlaps_across_classes_are_those_that_the_full_search_finds():
    images, classes = [], []
    for k, ground in enumerate(grounds(BASES, 320)):
        for share in (0.3, 0.5):
            images += [ground[20:148, 20:148], ground[23:151, round(148 - 128 * share):round(276 - 128 * share)]]
            classes += ["a", "b"]
    both = [(o.i, o.j, o.dy, o.dx) for o in find_overlaps(images) if classes[o.i] != classes[o.j]]
    assert len(both) >= 2 * len(BASES)
    assert [(o.i, o.j, o.dy, o.dx) for o in find_overlaps_across(images, classes)] == both
    assert find_overlaps_across(images, ["a"] * len(images)) == []


def test_searches_run_side_by_side_and_an_error_in_one_ends_the_others(monkeypatch, tmp_path):
    begun, rows_seen = Event(), []

    def endless_or_failing(files, progress, new, across):
        if not across:
            assert begun.wait(60)  # both are at work at once
            raise UserError("broken.png cannot be read")
        begun.set()
        for i in progress(range(10**9)):
            rows_seen.append(i)

    monkeypatch.setattr(links, "find_links", endless_or_failing)
    monkeypatch.setattr(links, "os", SimpleNamespace(cpu_count=lambda: 2))
    with pytest.raises(UserError, match="broken.png"):
        links.search_links({"a/1": tmp_path, "b/2": tmp_path}, {})
    assert len(rows_seen) < 10**9


def test_what_joins_nearly_all_images_of_every_class_is_a_pattern():
    names = [f"{category}/{i}" for category in "ab" for i in range(20)]
    chain = {(f"{category}/{i}", f"{category}/{i + 1}") for category in "ab" for i in range(18)}
    assert is_a_pattern(names, chain)  # 19 of 20 images of each class
    assert not is_a_pattern(names, {pair for pair in chain if pair[0].startswith("a/")})
    assert not is_a_pattern(names, set()) and not is_a_pattern(["a/0", "b/0"], set())
