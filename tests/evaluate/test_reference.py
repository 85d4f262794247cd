"""What fid.py compares with: the held-out part, what the generator knows, and how the files are stored."""
import json

import numpy as np
import pytest
from commands import here
from PIL import Image

from stablesdg.data.folders import name_of
from stablesdg.data.images import save_image
from stablesdg.data.split import load_split, part_files
from stablesdg.evaluate.codec import codec_of, encode_alike, jpeg_quality
from stablesdg.evaluate.reference import choose_reference, known_to_generator
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import sha256, write_csv, write_json

NANO = ["--features", "nano", "--device", "cpu"]


def write_images(folder, number, first=0, suffix=".png"):
    for i in range(number):
        save_image(folder / f"{i:03d}{suffix}", Image.fromarray(draw(first + i, side=40).image))


@pytest.fixture
def place(tmp_path):
    """A category of 44 images, split so that 22 are held out, and six generated from its training part."""
    write_images(tmp_path / "set" / "a", 44)
    split = load_split(tmp_path / "runs" / "set" / "split.json", [tmp_path / "set" / "a"], "random", ratios=(2, 1, 1))
    training = part_files(split, tmp_path / "set" / "a", "train")
    write_images(tmp_path / "generated", 6, first=500)
    write_csv(tmp_path / "generated" / "manifest.csv", ("file", "source"),
              [(f"{i:03d}.png", name_of(training[i])) for i in range(6)])
    write_json(tmp_path / "generated" / "settings.json", {"seen": [sha256(file) for file in training]})
    return tmp_path


def test_the_reference_is_what_the_split_holds_out_and_it_holds_nothing_the_generator_knows(place):
    out = here(place, "fid.py", "set/a", "generated", *NANO, "--json", "score.json")
    assert "N real 22," in out and "warning" not in out
    assert "reference: 22 of the 44 images of set/a, those in the validation and test part" in out
    assert json.loads((place / "score.json").read_text())["reference"] == "held-out"
    out = here(place, "fid.py", "set/a", "generated", *NANO, "--reference", "all")
    assert "N real 44," in out and "warning: 22 of the 44 reference images are known to the generator" in out
    out = here(place, "fid.py", "set/a", "generated", *NANO, "--reference", "train")
    assert "N real 22," in out and "warning: 22 of the 22" in out


def test_sources_are_known_to_the_generator_even_where_no_hash_is_written_down(place):
    (place / "generated" / "settings.json").unlink()
    files = sorted((place / "set" / "a").iterdir())
    assert len(known_to_generator(files, place / "generated")) == 6


def test_too_few_held_out_images_and_an_absent_split_are_said(place, tmp_path):
    load_split(tmp_path / "few.json", [place / "set" / "a"])
    few = choose_reference(place / "set" / "a", tmp_path / "few.json", None)
    assert few.kind == "all" and few.said.startswith("44 of the 44 images of ")
    assert few.said.endswith(", those in any part, because the 8 held out are too few")
    assert len(choose_reference(place / "set" / "a", tmp_path / "few.json", "held-out").files) == 8
    assert "which has no split" in choose_reference(place / "generated", tmp_path / "few.json", None).said
    assert "--reference train needs a split" in here(place, "fid.py", "generated", "set/a", *NANO, "--reference",
                                                     "train", ok=False)
    write_images(place / "set" / "a", 45)
    with pytest.raises(UserError, match="--add"):
        choose_reference(place / "set" / "a", place / "runs" / "set" / "split.json", None)


def test_an_image_that_the_split_leaves_out_is_no_reference_and_is_not_counted_as_one(place):
    manifest = place / "runs" / "set" / "split.json"
    split = json.loads(manifest.read_text())
    next(entry for entry in split["files"].values() if entry["part"] == "train")["part"] = "left-out"
    write_json(manifest, split)
    for kind, said in (("all", "43 of the 44 images of set/a, those in any part"),
                       ("train", "21 of the 44 images of set/a, those in the training part")):
        assert f"reference: {said}\n" in here(place, "fid.py", "set/a", "generated", *NANO, "--reference", kind)
    for entry in split["files"].values():
        entry["part"] = "train" if entry["part"] in ("val", "test") else entry["part"]
    write_json(manifest, split)
    few = choose_reference(place / "set" / "a", manifest, None)
    assert len(few.files) == 43 and "those in any part, because the 0 held out are too few" in few.said


@pytest.mark.parametrize("quality", [50, 80, 95])
def test_the_quality_of_jpeg_files_is_read_from_their_tables(tmp_path, quality):
    Image.fromarray(draw(1, side=64).image).save(tmp_path / "a.jpg", quality=quality)
    assert jpeg_quality(tmp_path / "a.jpg") == quality
    save_image(tmp_path / "b.png", Image.new("L", (8, 8)))
    assert jpeg_quality(tmp_path / "b.png") is None
    assert str(codec_of([tmp_path / "a.jpg"])) == f"JPEG of quality {quality}"
    assert str(codec_of([tmp_path / "b.png"])) == "lossless"
    assert codec_of([tmp_path / "a.jpg", tmp_path / "b.png"]).mixed


def test_the_same_codec_on_both_sides_takes_its_part_of_the_distance_away(tmp_path):
    """The same pictures as JPEG and as PNG: alike once both are compressed."""
    (tmp_path / "jpeg").mkdir()
    for i in range(8):
        image = Image.fromarray(draw(i, side=64).image)
        save_image(tmp_path / "png" / f"{i}.png", image)
        image.save(tmp_path / "jpeg" / f"{i}.jpg", quality=30)
    out = here(tmp_path, "fid.py", "jpeg", "png", *NANO, "--json", "as-is.json")
    assert "the real images are JPEG of quality 30, the generated ones lossless" in out and "--codec same" in out
    out = here(tmp_path, "fid.py", "jpeg", "png", *NANO, "--codec", "same", "--json", "same.json")
    assert "both sides compressed again as JPEG of quality 30" in out
    as_is, same = (json.loads((tmp_path / f"{name}.json").read_text())["fid"] for name in ("as-is", "same"))
    assert same < 0.2 * as_is
    assert "nothing was compressed again" in here(tmp_path, "fid.py", "png", "jpeg", *NANO, "--codec", "same")


def test_images_compressed_again_keep_their_order_and_their_mode(tmp_path):
    save_image(tmp_path / "in" / "b.png", Image.new("L", (16, 16), 200))
    save_image(tmp_path / "in" / "a.png", Image.new("RGB", (16, 16), (10, 0, 0)))
    first, second = encode_alike([tmp_path / "in" / "b.png", tmp_path / "in" / "a.png"], 90, tmp_path)
    assert Image.open(first).mode == "L" and np.asarray(Image.open(first)).mean() == pytest.approx(200, abs=2)
    assert Image.open(second).mode == "RGB"
