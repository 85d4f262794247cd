"""Images in and out, and the split."""

import contextlib

import numpy as np
import pytest
from PIL import Image

from stablesdg.data.folders import list_categories, list_images
from stablesdg.data.images import fit_size, read_fitted, read_image, save_image, to_image, to_tensor
from stablesdg.data.split import load_split, part_files, random_parts
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import atomic_path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".JPG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_come_back_in_the_size_and_mode_they_came_in(tmp_path, suffix, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / f"a{suffix}")
    fitted = read_fitted(tmp_path / f"a{suffix}", resolution=64, multiple=8)
    assert fitted.x.shape == (3, 64, 88) and fitted.size == (50, 37) and fitted.mode == mode
    image = to_image(fitted.x, fitted.size, fitted.mode)
    assert image.size == (50, 37) and image.mode == mode


def test_a_damaged_image_is_named_whatever_is_wrong_with_it(tmp_path):
    save_image(tmp_path / "whole.png", Image.effect_noise((64, 64), 40))
    data = (tmp_path / "whole.png").read_bytes()
    for k in range(0, len(data), 97):
        (tmp_path / "bad.png").write_bytes(data[:k] + bytes([data[k] ^ 255]) + data[k + 1:])
        with contextlib.suppress(UserError):
            read_image(tmp_path / "bad.png")


def test_an_image_too_large_to_work_on_at_its_own_size_is_refused(tmp_path):
    save_image(tmp_path / "large.png", Image.new("L", (2448, 2048)))
    with pytest.raises(UserError, match="--resolution 512"):
        read_fitted(tmp_path / "large.png", None, 8)
    assert read_fitted(tmp_path / "large.png", 512, 8).x.shape == (3, 512, 608)


def test_pixels_survive_the_way_to_a_tensor_and_back():
    pixels = np.random.default_rng(1).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    x = to_tensor(Image.fromarray(pixels))
    assert x.min() >= -1 and x.max() <= 1
    assert np.array_equal(np.asarray(to_image(x)), pixels)


def test_16_bit_gray_is_brought_to_8_bits_and_transparency_dropped(tmp_path):
    Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16)).save(tmp_path / "deep.png")
    image, mode = read_image(tmp_path / "deep.png")
    assert mode == "L" and image.getpixel((0, 0)) == (255, 255, 255)
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match="32-bit"):
        read_image(tmp_path / "float.tif")
    Image.fromarray(np.full((4, 4), 4095, dtype=np.uint16)).save(tmp_path / "12-bit.png")
    with pytest.raises(UserError, match="at most 4095.*save it with 8 bits"):
        read_image(tmp_path / "12-bit.png")
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png")[0].getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize("resolution, size", [(None, (200, 120)), (64, (104, 64)), (8, (16, 8))])
def test_fitted_sizes_are_multiples_and_keep_the_aspect(resolution, size):
    assert fit_size(203, 123, resolution, 8) == size


def test_a_broken_image_an_empty_folder_and_an_absent_one_are_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="broken.jpg"):
        read_image(tmp_path / "broken.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images"):
        list_images(tmp_path / "empty")
    with pytest.raises(UserError, match="absent"):
        list_categories(tmp_path / "absent")


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "file").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("n, counts", [(270, (216, 27, 27)), (20, (16, 2, 2)), (3, (1, 1, 1)), (2, (2, 0, 0))])
def test_the_split_is_8_1_1_and_no_part_is_empty_from_three_images_on(n, counts):
    parts = list(random_parts([f"a/{i}.png" for i in range(n)], seed=0).values())
    assert tuple(parts.count(part) for part in ("train", "val", "test")) == counts


def test_the_split_depends_on_names_and_seed_alone(steel, tmp_path):
    folders = list_categories(steel)
    whole = load_split(tmp_path / "whole.json", folders)
    for folder in reversed(folders):
        one_by_one = load_split(tmp_path / "grown.json", [folder])
    assert whole["files"] == one_by_one["files"]
    assert load_split(tmp_path / "other.json", folders, seed=1)["files"] != whole["files"]
    parts = [part_files(whole, folders[0], part) for part in ("train", "val", "test")]
    assert sorted(sum(parts, [])) == list_images(folders[0])


def test_files_that_came_or_changed_since_the_split_are_named(tmp_path):
    for i in range(5):
        save_image(tmp_path / "c" / f"{i}.png", Image.new("L", (8, 8), i))
    load_split(tmp_path / "split.json", [tmp_path / "c"])
    save_image(tmp_path / "c" / "2.png", Image.new("L", (8, 8), 99))
    with pytest.raises(UserError, match="c/2.png"):
        load_split(tmp_path / "split.json", [tmp_path / "c"])
    save_image(tmp_path / "c" / "2.png", Image.new("L", (8, 8), 2))
    save_image(tmp_path / "c" / "new.png", Image.new("L", (8, 8), 7))
    with pytest.raises(UserError, match="c/new.png"):
        load_split(tmp_path / "split.json", [tmp_path / "c"])
