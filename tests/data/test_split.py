"""Which images share surface, and that a split keeps them together."""
import io
import json

import numpy as np
import pytest
from commands import here
from PIL import Image

from stablesdg.data.deal import join_groups
from stablesdg.data.folders import list_images
from stablesdg.data.images import save_image
from stablesdg.data.overlap import find_copies, find_overlaps, find_overlaps_across
from stablesdg.data.prepare import find_piece, otsu_threshold, tile_starts
from stablesdg.data.split import find_groups, group_parts, load_split
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_csv


def grounds(names, side, first=0):
    """Large gray textures, one of each base named."""
    found, index = {}, first
    while len(found) < len(names):
        texture = draw(index, side=side)
        if texture.attributes["base"] in names and texture.attributes["base"] not in found:
            found[texture.attributes["base"]] = texture.image.mean(-1)
        index += 1
    return list(found.values())


BASES = ("brushed", "grainy", "cloudy", "wavy", "pebbled", "mottled")  # stripes are alike wherever they are cut


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


def test_a_group_lies_in_one_part_and_parts_have_their_shares():
    groups = {f"c/{i:03d}.png": f"c/{i // 3 * 3:03d}.png" for i in range(150)}
    groups |= {f"c/{i}.png": "c/150.png" for i in range(150, 250)}
    parts = group_parts(groups, seed=0)
    assert all(len({parts[n] for n in groups if groups[n] == group}) == 1 for group in set(groups.values()))
    counts = [list(parts.values()).count(part) for part in ("train", "val", "test")]
    assert counts[0] >= 200 and all(23 <= n <= 25 for n in counts[1:])
    assert group_parts(groups, seed=0) == parts != group_parts(groups, seed=1)


@pytest.fixture
def strips(tmp_path):
    """A class of ten strips, each cut into three overlapping crops."""
    names = ("grainy", "mottled", "wavy", "pebbled", "brushed")
    for s, ground in enumerate(grounds(names, 200) + grounds(names, 200, first=5000)):
        for k in range(3):
            crop = Image.fromarray(ground[:96, 40 * k:40 * k + 96].astype(np.uint8))
            save_image(tmp_path / "set" / "Pa" / f"{s}_{k}.png", crop)
    return tmp_path


def test_the_split_command_keeps_strips_together_and_check_reports_the_leak_of_a_random_split(strips):
    assert "10 groups" in here(strips, "-m", "stablesdg.split", "set")
    manifest = json.loads((strips / "runs" / "set" / "split.json").read_text())
    parts = {name: entry["part"] for name, entry in manifest["files"].items()}
    for s in range(10):
        assert len({parts[f"Pa/{s}_{k}.png"] for k in range(3)}) == 1
        assert {manifest["files"][f"Pa/{s}_{k}.png"]["group"] for k in range(3)} == {f"Pa/{s}_0.png"}
    assert "0 of 3 test" in here(strips, "-m", "stablesdg.split", "set", "--check").splitlines()[-1]
    assert "not a random one" in here(strips, "-m", "stablesdg.split", "set", "--split", "random", ok=False)
    here(strips, "-m", "stablesdg.split", "set", "--split", "random", "--replace")
    out = here(strips, "-m", "stablesdg.split", "set", "--check").splitlines()
    assert out[-1].startswith("in all: ") and "0 of 3 test" not in out[-1]
    assert "random split" in here(strips, "-m", "stablesdg.split", "set", "--replace")


@pytest.mark.parametrize("ratios", [(0, 1, 1), (0, 0, 0), (8, -1, 1)])
def test_ratios_that_leave_nothing_to_train_on_are_refused(strips, ratios):
    assert "--ratios takes" in here(strips, "-m", "stablesdg.split", "set", "--ratios", *ratios, ok=False)


def test_three_groups_larger_than_a_part_still_fill_all_parts():
    for photographs, tiles in ((8, 6), (3, 12), (9, 8)):
        groups = {f"c/{p}_{k}.png": f"c/{p}_0.png" for p in range(photographs) for k in range(tiles)}
        parts = group_parts(groups, seed=0)
        assert sorted(set(parts.values())) == ["test", "train", "val"]
        assert all(len({parts[n] for n in groups if groups[n] == group}) == 1 for group in set(groups.values()))


def test_one_picture_twice_in_a_class_stays_together_and_in_two_classes_is_named(tmp_path):
    for i in range(12):
        save_image(tmp_path / "set" / "Pa" / f"{i}.png", Image.fromarray(draw(i // 2, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set", "--split", "random")
    files = json.loads((tmp_path / "runs" / "set" / "split.json").read_text())["files"]
    assert all(files[f"Pa/{i}.png"]["part"] == files[f"Pa/{i + 1}.png"]["part"] for i in range(0, 12, 2))
    for i in range(6):
        save_image(tmp_path / "set" / "Sc" / f"{i + 20}.png", Image.fromarray(draw(i, side=32).image))
    before = json.loads((tmp_path / "runs" / "set" / "split.json").read_text())["files"]
    error = here(tmp_path, "-m", "stablesdg.split", "set", ok=False)
    assert "one picture in two classes" in error and before == files


def test_an_image_that_cannot_be_read_stops_the_split_before_it_is_written(strips):
    (strips / "set" / "Pa" / "broken.png").write_bytes(b"no image")
    assert "broken.png" in here(strips, "-m", "stablesdg.split", "set", ok=False)
    assert not (strips / "runs").exists()


def photograph(seed):
    """A bright textured plate, 300 x 170, on a dark table, with a bright speck elsewhere."""
    canvas = np.full((400, 500), 12, dtype=np.uint8)
    canvas[90:260, 110:410] = draw(seed, side=300).image.mean(-1)[:170] / 2 + 110
    canvas[380:384, 20:24] = 250
    return Image.fromarray(canvas)


def test_images_of_very_different_sizes_are_not_shrunk_alike(tmp_path):
    """Two overlapping crops of 200 pixels are found, and so are two halves of a photograph of 3000 beside them."""
    small = np.asarray(draw(3, side=300).image)
    large = np.random.default_rng(0).integers(0, 255, (150, 250), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    images = {"a": small[:200, :200], "b": small[60:260, 60:260], "c": large[:, :3000], "d": large[:, 1000:]}
    for name, pixels in images.items():
        save_image(tmp_path / f"{name}.png", Image.fromarray(pixels))
    groups, pairs = find_groups({file.stem: file for file in list_images(tmp_path)})
    assert pairs == [("a", "b"), ("c", "d")] and groups == {"a": "a", "b": "a", "c": "c", "d": "c"}


def test_a_class_of_one_surface_is_said_to_leave_no_image_for_the_test(tmp_path):
    ground = np.asarray(draw(5, side=160).image)
    for i in range(4):
        save_image(tmp_path / "data" / "part" / f"{i}.png", Image.fromarray(ground[i:i + 128, 2 * i:2 * i + 128]))
    out = here(tmp_path, "-m", "stablesdg.split", "data")
    assert "part has no val and no test images, because its 4 images show 1 surface; --split random" in out


def test_prepare_cuts_the_piece_out_tiles_it_and_keeps_the_tiles_of_a_photograph_together(tmp_path):
    for k in range(4):
        save_image(tmp_path / "raw" / "Sc" / f"p{k}.png", photograph(k))
    assert find_piece(photograph(0)) == (110, 90, 410, 260)
    out = here(tmp_path, "-m", "stablesdg.prepare", "raw", "set", "--size", "64", "--tile", "100", "--overlap", "0.3")
    assert "Sc: 24 tiles of 4 photographs" in out and (tmp_path / "set" / "contact-Sc.png").is_file()
    tiles = list_images(tmp_path / "set" / "Sc")
    assert {(Image.open(tile).size, Image.open(tile).mode) for tile in tiles} == {((64, 64), "L")}
    groups, _ = find_groups({tile.name: tile for tile in tiles})
    for row in read_csv(tmp_path / "set" / "Sc" / "tiles.csv"):
        assert groups[row["file"]] == row["photograph"].replace(".png", "_00.png")
    assert "is not empty" in here(tmp_path, "-m", "stablesdg.prepare", "raw", "set", ok=False)


def test_prepare_says_what_it_discards_and_whole_discards_nothing(tmp_path):
    """A dark defect over most of a bright piece, as a dark background would look."""
    pixels = np.full((120, 200), 220, dtype=np.uint8)
    pixels[:, 60:] = 20
    save_image(tmp_path / "raw" / "Cr" / "p.png", Image.fromarray(pixels))
    out = here(tmp_path, "-m", "stablesdg.prepare", "raw", "cut", "--size", "32")
    assert "70% of their area discarded" in out and "warning: 70% of Cr was taken for background" in out
    out = here(tmp_path, "-m", "stablesdg.prepare", "raw", "whole", "--size", "30", "--tile", "30", "--whole")
    assert "Cr: 24 tiles of 1 photographs; 0% of their area discarded" in out and "warning" not in out
    error = here(tmp_path, "-m", "stablesdg.prepare", "raw", "x", "--whole", "--dark", ok=False)
    assert "leave one of them out" in error


def test_prepare_sorts_the_published_layouts_as_they_are(tmp_path):
    for name in ("IMAGES/crazing_1.jpg", "train/images/scratches/scratches_2.jpg", "Cr_7.bmp"):
        save_image(tmp_path / "NEU" / name, Image.new("L", (20, 20), 9))
    assert "3 images sorted" in here(tmp_path, "-m", "stablesdg.prepare", "NEU", "neu")
    assert sorted(str(f.relative_to(tmp_path / "neu")) for f in (tmp_path / "neu").rglob("*.*")) == [
        "Cr/Cr_7.bmp", "Cr/crazing_1.jpg", "Sc/scratches_2.jpg"]


def test_otsu_parts_two_gray_levels():
    assert 40 <= otsu_threshold(Image.fromarray(np.repeat([40, 41, 200, 203], 50).astype(np.uint8)[None])) < 200


@pytest.mark.parametrize("length, side, overlap, expected", [
    (300, 100, 0, [0, 100, 200]), (300, 100, 0.5, [0, 50, 100, 150, 200]), (290, 100, 0, [45, 145]),
    (100, 100, 0.9, [0])])
def test_tiles_are_laid_evenly(length, side, overlap, expected):
    assert tile_starts(length, side, overlap) == expected


def crops(ground, places, side=96):
    return [Image.fromarray(ground[y:y + side, x:x + side].astype(np.uint8)) for y, x in places]


@pytest.fixture
def cut_strip(tmp_path):
    """Two classes of twelve surfaces each; the strip 0 of class a goes on as image 0 of class b."""
    for name, first in (("a", 100), ("b", 20_000)):
        for i in range(12):
            save_image(tmp_path / "set" / name / f"{i:02d}.png",
                       crops(draw(first + i, side=160).image.mean(-1), [(0, 0)])[0])
    strip = grounds(["grainy"], 200)[0]
    for name, x in (("a", 0), ("b", 50)):
        save_image(tmp_path / "set" / name / "00.png", crops(strip, [(0, x)])[0])
    return tmp_path


def manifest_of(place, name="set"):
    return json.loads((place / "runs" / name / "split.json").read_text())["files"]


def test_a_strip_cut_into_two_classes_lies_in_one_part_whether_they_come_together_or_one_by_one(cut_strip):
    for seed in ("0", "1", "2"):
        out = here(cut_strip, "-m", "stablesdg.split", "set", "--seed", seed, "--replace")
        assert "split of b: " in out and "sharing surface with images of a, and in their part: 1 image" in out
        files = manifest_of(cut_strip)
        assert files["a/00.png"]["part"] == files["b/00.png"]["part"] and files["b/00.png"]["group"] == "a/00.png"
    for order in ("ab", "ba"):
        manifest = cut_strip / f"{order}.json"
        for name in order:
            files = load_split(manifest, [cut_strip / "set" / name])["files"]
        assert files["a/00.png"]["part"] == files["b/00.png"]["part"]
        assert files["a/00.png"]["group"] == files["b/00.png"]["group"] == f"{order[0]}/00.png"
    here(cut_strip, "-m", "stablesdg.split", "set", "--split", "random", "--replace")
    out = here(cut_strip, "-m", "stablesdg.split", "set", "--check")
    assert "across classes: 1 overlapping pairs (0 false ones" in out
    assert (cut_strip / "runs" / "set" / "overlaps-across.png").is_file()


def test_one_picture_in_two_classes_is_named_and_lies_in_one_part(cut_strip):
    picture = Image.open(cut_strip / "set" / "a" / "05.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save_image(cut_strip / "set" / "b" / "30.png", picture)
    out = here(cut_strip, "-m", "stablesdg.split", "set")
    assert "warning: 1 picture in two classes, a/05.png and b/30.png first: which is it?" in out
    files = manifest_of(cut_strip)
    assert files["a/05.png"]["part"] == files["b/30.png"]["part"]


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


def test_an_existing_split_is_not_passed_over_in_silence_when_other_settings_are_asked_for(strips):
    here(strips, "-m", "stablesdg.split", "set")
    ratios = ["--ratios", "4", "2", "4"]
    for asked in (ratios, ["--seed", "1"], ["--split", "random"], ["--check", *ratios]):
        error = here(strips, "-m", "stablesdg.split", "set", *asked, ok=False)
        assert "--replace" in error and "--ratios 8 1 1 and --seed 0" in error
    assert "30 images" in here(strips, "-m", "stablesdg.split", "set", "--ratios", "8", "1", "1", "--seed", "0")


def test_new_images_join_the_part_of_their_surface_and_images_that_are_gone_leave_the_split(strips):
    here(strips, "-m", "stablesdg.split", "set")
    before = manifest_of(strips)
    tested = next(name for name in sorted(before) if before[name]["part"] == "test" and name.endswith("_0.png"))
    crop = Image.open(strips / "set" / tested).crop((10, 10, 90, 90))
    save_image(strips / "set" / "Pa" / "later.png", crop)
    save_image(strips / "set" / "Pa" / "other.png", Image.fromarray(draw(30_000, side=96).image))
    with pytest.raises(UserError, match="Pa/later.png first.*--add"):
        load_split(strips / "runs" / "set" / "split.json", [strips / "set" / "Pa"])
    out = here(strips, "-m", "stablesdg.split", "set", "--add")
    assert "added to Pa: 1 train, 1 test" in out and "1 of them show surface that the split knows" in out
    files = manifest_of(strips)
    assert files["Pa/later.png"] == {**files["Pa/later.png"], "part": "test", "group": before[tested]["group"]}
    assert files["Pa/other.png"]["part"] == "train" and {name: files[name] for name in before} == before
    assert "no image is new" in here(strips, "-m", "stablesdg.split", "set", "--add")

    (strips / "set" / "Pa" / "later.png").unlink()
    with pytest.raises(UserError, match="Pa/later.png first.*gone.*--forget"):
        load_split(strips / "runs" / "set" / "split.json", [strips / "set" / "Pa"])
    out = here(strips, "-m", "stablesdg.split", "set", "--check")
    assert "gone since the split was made: 1 image (Pa/later.png first)" in out
    assert "Pa/later.png" in here(strips, "-m", "stablesdg.split", "set", "--forget")
    assert manifest_of(strips).keys() == files.keys() - {"Pa/later.png"}


def test_check_draws_the_overlapping_pairs_of_a_class(strips):
    here(strips, "-m", "stablesdg.split", "set")
    assert "overlaps-Pa.png: 6 overlapping pairs" in here(strips, "-m", "stablesdg.split", "set", "--check")
    assert Image.open(strips / "runs" / "set" / "overlaps-Pa.png").height > 6 * 96


def test_pairs_whose_scale_is_unknown_are_counted(tmp_path):
    for i, side in enumerate((100, 100, 600, 600)):
        save_image(tmp_path / "set" / "a" / f"{i}.png", Image.fromarray(draw(i, side=side).image))
    assert "4 pairs of images are not compared" in here(tmp_path, "-m", "stablesdg.split", "set")


def test_an_image_between_two_parts_is_named_and_lies_in_the_training_part():
    parts = {"a/1": "train", "a/2": "test", "a/3": "val"}
    split = {"method": "group", "seed": 0, "ratios": [8, 1, 1],
             "files": {name: {"sha256": name, "group": name, "part": part} for name, part in parts.items()}}
    torn = join_groups(split, ["b/1", "b/2"], [("b/1", "b/2")], [("a/1", "b/1"), ("a/2", "b/2")])
    assert torn.groups == {"b/1": "a/1", "b/2": "a/1"} and torn.fixed == {"a/1": "train"}
    assert torn.between == {"b/1", "b/2"}
    torn = join_groups(split, ["b/1"], [], [("a/2", "b/1"), ("a/3", "b/1")])
    assert torn.groups == {"b/1": "b/1"} and torn.fixed == {"b/1": "train"} and torn.between == {"b/1"}
    whole = join_groups(split, ["b/1", "b/2"], [("b/1", "b/2")], [("a/2", "b/2")])
    assert whole.groups == {"b/1": "a/2", "b/2": "a/2"} and whole.fixed == {"a/2": "test"} and not whole.between


def test_a_part_fixed_by_another_class_takes_its_share():
    groups = {f"b/{i:02d}": f"b/{i:02d}" for i in range(20)} | {"b/20": "a/0", "b/21": "a/0"}
    parts = group_parts(groups, seed=0, fixed={"a/0": "test"})
    assert parts["b/20"] == parts["b/21"] == "test" and list(parts.values()).count("test") == 2
    assert group_parts(groups, seed=0) == group_parts(groups, seed=0, fixed={})


def test_new_copies_join_their_part_in_a_random_split_and_other_new_images_are_for_training(tmp_path):
    for i in range(20):
        save_image(tmp_path / "set" / "Pa" / f"{i:02d}.png", Image.fromarray(draw(i, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set", "--split", "random")
    before = manifest_of(tmp_path)
    tested = next(name for name in before if before[name]["part"] == "test")
    (tmp_path / "set" / "Pa" / "copy.png").write_bytes((tmp_path / "set" / tested).read_bytes())
    save_image(tmp_path / "set" / "Pa" / "new.png", Image.fromarray(draw(99, side=32).image))
    save_image(tmp_path / "set" / "Sc" / "0.png", Image.fromarray(draw(98, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set", "--add")
    files = manifest_of(tmp_path)
    assert files["Pa/copy.png"]["part"] == "test" and files["Pa/new.png"]["part"] == "train" and "Sc/0.png" in files
    assert {name: files[name] for name in before} == before


def test_a_folder_without_any_listed_image_is_not_forgotten(tmp_path):
    for i in range(4):
        save_image(tmp_path / "set" / "a" / f"{i}.png", Image.fromarray(draw(i, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set")
    for file in list_images(tmp_path / "set" / "a"):
        file.rename(file.with_name(f"renamed-{file.name}"))
    assert "is it the right folder" in here(tmp_path, "-m", "stablesdg.split", "set", "--forget", ok=False)
    assert len(manifest_of(tmp_path)) == 4
