"""Images in and out, and the split."""

import os
import shutil
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import here
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, rotate

from stablesdg.data.augment import augment_batch
from stablesdg.data.folders import list_categories, list_images
from stablesdg.data.generated import list_jobs
from stablesdg.data.images import (
    batches_alike,
    fit_size,
    read_fitted,
    read_image,
    save_image,
    to_image,
    to_tensor,
)
from stablesdg.data.parts import group_parts
from stablesdg.data.split import load_split, part_files
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import atomic_path, read_json, write_json


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
    data, refused = (tmp_path / "whole.png").read_bytes(), 0
    for k in range(0, len(data), 97):
        (tmp_path / "bad.png").write_bytes(data[:k] + bytes([data[k] ^ 255]) + data[k + 1:])
        try:
            read_image(tmp_path / "bad.png")
        except UserError as error:
            assert "bad.png" in str(error)
            refused += 1
    assert refused > len(data) // 97 / 2


def test_an_image_too_large_to_work_on_at_its_own_size_is_refused(tmp_path):
    save_image(tmp_path / "large.png", Image.new("L", (2448, 2048)))
    with pytest.raises(UserError, match="--resolution 512"):
        read_fitted(tmp_path / "large.png", None, 8)
    assert read_fitted(tmp_path / "large.png", 512, 8).x.shape == (3, 512, 608)
    assert read_fitted(tmp_path / "large.png", None, 1).size == read_fitted(tmp_path / "large.png", 512, 8).size


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


def test_a_batch_is_rotated_and_mirrored_as_torchvision_does_it():
    x = torch.rand(8, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    made = augment_batch(x, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    mirror, angle = torch.randint(0, 2, (8, 2), generator=generator), torch.rand(8, generator=generator) * 20 - 10
    assert angle.abs().max() > 5 and len({tuple(m) for m in mirror.tolist()}) == 4
    for image, ours, (right, upright), degrees in zip(x, made, mirror.tolist(), angle.tolist()):
        theirs = rotate(image, degrees, InterpolationMode.BILINEAR)  # what lies beyond the border is 0
        theirs = theirs.flip([axis for axis, keeps in ((2, right), (1, upright)) if not keeps])
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_batch_holds_neighbours_of_one_kind_and_is_yielded_before_the_next_item_is_read():
    read = []

    def items():
        for item in (10, 11, 12, 13, 20, 14, 15):
            read.append(item)
            yield item

    batches = batches_alike(items(), lambda item: 3 if item < 20 else 1, lambda item: item // 10)
    assert next(batches) == [10, 11, 12] == read
    assert list(batches) == [[13], [20], [14, 15]]
    assert list(batches_alike([], len, len)) == []


def test_all_sources_have_their_turn_before_any_is_used_again():
    sources = [Path(f"a/{i}.png") for i in range(10)]
    jobs = list_jobs(sources, 25, seed=7)
    assert sorted(job.source for job in jobs[:10]) == sources == sorted(job.source for job in jobs[10:20])
    assert [job.seed for job in jobs] == [7_000_000 + i for i in range(25)]
    assert [job.name for job in jobs[:2]] == ["00000.png", "00001.png"]
    assert [job.source for job in list_jobs(sources, 10, seed=8)] != [job.source for job in jobs[:10]]


@pytest.mark.parametrize("n, counts", [(270, (216, 27, 27)), (20, (16, 2, 2)), (3, (1, 1, 1)), (2, (2, 0, 0))])
def test_the_split_is_8_1_1_and_no_part_is_empty_from_three_images_on(n, counts):
    parts = list(group_parts({f"a/{i}.png": f"a/{i}.png" for i in range(n)}, seed=0).values())
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


def save_12_bits(path, low, high):
    """A ramp of 12-bit gray levels, as a camera stores them in 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.linspace(low, high, 64 * 64).reshape(64, 64).astype(np.uint16)).save(path)


def test_images_of_12_bits_have_one_window_for_the_whole_data_set(tmp_path, monkeypatch, capsys):
    """The dark class stays darker than the bright one, and the window is said once and kept."""
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        save_12_bits(tmp_path / "set" / "dark" / f"{i}.png", 200, 1000)
        save_12_bits(tmp_path / "set" / "bright" / f"{i}.png", 1000, 4000)
    dark, bright = (np.asarray(read_image(tmp_path / "set" / name / "0.png")[0]) for name in ("dark", "bright"))
    assert dark.min() == 0 and bright.max() == 255 and abs(int(dark.max()) - int(bright.min())) <= 1
    said = capsys.readouterr().out
    assert said.count("becomes black") == 1 and "0.1 and 99.9 percent of the pixels of 6 images" in said
    kept = tmp_path / "runs" / "set" / "window.json"
    window = read_json(kept)
    assert window["black"] == pytest.approx(202, abs=3) and window["white"] == pytest.approx(3990, abs=9)
    save_12_bits(tmp_path / "set" / "dark" / "later.png", 100, 4095)  # does not move what is kept
    assert np.asarray(read_image(tmp_path / "set" / "dark" / "1.png")[0]).max() == dark.max()
    write_json(kept, {"black": 0, "white": 4095})
    assert np.asarray(read_image(tmp_path / "set" / "dark" / "1.png")[0]).max() == round(1000 / 4095 * 255)
    write_json(kept, {"white": 4095})
    with pytest.raises(UserError, match="should hold"):
        read_image(tmp_path / "set" / "dark" / "1.png")


def test_a_dark_image_among_such_that_use_all_16_bits_is_read_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_12_bits(tmp_path / "set" / "a" / "0.png", 0, 65535)
    save_12_bits(tmp_path / "set" / "a" / "1.png", 0, 2570)
    assert np.asarray(read_image(tmp_path / "set" / "a" / "1.png")[0]).max() == 10


def test_prepare_takes_black_and_white_from_the_command_or_measures_them(tmp_path):
    save_12_bits(tmp_path / "raw" / "a" / "0.png", 0, 4000)
    prepare = ("-m", "stablesdg.prepare")
    here(tmp_path, *prepare, "raw", "asked", "--whole", "--size", "64", "--black", "1000", "--white", "3000")
    asked = np.asarray(Image.open(tmp_path / "asked" / "a" / "0_00.png"))
    assert [(asked == end).mean() for end in (0, 255)] == pytest.approx([0.25, 0.25], abs=0.01)
    assert "99.9 percent" in here(tmp_path, *prepare, "raw", "measured", "--whole", "--size", "64")
    assert not (tmp_path / "runs").exists()
    assert "no window" in here(tmp_path, *prepare, "raw", "x", "--black", "9", "--white", "9", ok=False)
    save_image(tmp_path / "plain" / "a" / "0.png", Image.new("L", (8, 8)))
    assert "leave them out" in here(tmp_path, *prepare, "plain", "y", "--white", "9", ok=False)


def test_hidden_files_make_no_class_and_a_link_to_a_class_is_refused(tmp_path, steel):
    (tmp_path / "set" / "notes").mkdir(parents=True)
    (tmp_path / "set" / "notes" / "._a.png").touch()  # as a Mac leaves them
    shutil.copytree(steel / "pits", tmp_path / "set" / "pits")
    assert [folder.name for folder in list_categories(tmp_path / "set")] == ["pits"]
    (tmp_path / "set" / "patches").symlink_to(steel / "patches")
    with pytest.raises(UserError, match="patches is a link"):
        list_categories(tmp_path / "set")


def test_links_to_images_are_read_by_the_window_of_the_data_set_that_they_lie_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, high in (("archive-1/x/0.png", 4000), ("archive-2/x/0.png", 1000)):
        save_12_bits(tmp_path / name, 0, high)
    (tmp_path / "set" / "a").mkdir(parents=True)
    for k in (1, 2):
        (tmp_path / "set" / "a" / f"{k}.png").symlink_to(tmp_path / f"archive-{k}" / "x" / "0.png")
    first, second = (np.asarray(read_image(tmp_path / "set" / "a" / f"{k}.png")[0]).max() for k in (1, 2))
    assert first > 200 and second < 80 and [file.parent.name for file in (tmp_path / "runs").glob("*/window.json")] == [
        "set"]


def test_colour_of_16_bits_is_refused_because_only_half_of_it_could_be_read(tmp_path):
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + struct.pack(">12H", *[3000] * 12)) * 4)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
                                        + chunk(b"IEND", b""))
    with pytest.raises(UserError, match="several channels of 16 bits"):
        read_image(tmp_path / "deep.png")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_cannot_be_written_down_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"sp\xe4ne.png")).touch()
    with pytest.raises(UserError, match="no Unicode .*rename it"):
        list_images(tmp_path)
