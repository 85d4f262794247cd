"""Photographs to images of one size: cut out, tiled, sorted, and what is discarded on the way."""
import numpy as np
import pytest
from commands import here
from PIL import Image

from stablesdg.data.folders import list_images
from stablesdg.data.images import save_image
from stablesdg.data.leaks import leaked_by_photograph, listed_files, measure_leak, measure_leak_across
from stablesdg.data.prepare import find_piece, otsu_threshold, tile_starts
from stablesdg.data.split import load_split
from stablesdg.data.surfaces import components, find_links, read_tiles, same_photograph
from stablesdg.prior.textures import draw
from stablesdg.storage.files import read_csv, read_json


def photograph(seed):
    """A bright textured plate, 300 x 170, on a dark table, with a bright speck elsewhere."""
    canvas = np.full((400, 500), 12, dtype=np.uint8)
    canvas[90:260, 110:410] = draw(seed, side=300).image.mean(-1)[:170] / 2 + 110
    canvas[380:384, 20:24] = 250
    return Image.fromarray(canvas)


def test_prepare_cuts_the_piece_out_tiles_it_and_keeps_the_tiles_of_a_photograph_together(tmp_path):
    for k in range(4):
        save_image(tmp_path / "raw" / "Sc" / f"p{k}.png", photograph(k))
    assert find_piece(photograph(0)) == (110, 90, 410, 260)
    out = here(tmp_path, "-m", "stablesdg.prepare", "raw", "set", "--size", "64", "--tile", "100", "--overlap", "0.3")
    assert "Sc: 24 tiles of 4 photographs" in out and (tmp_path / "set" / "contact-Sc.png").is_file()
    tiles = list_images(tmp_path / "set" / "Sc")
    assert {(Image.open(tile).size, Image.open(tile).mode) for tile in tiles} == {((64, 64), "L")}
    files = {tile.name: tile for tile in tiles}
    groups = components(files, find_links(files).pairs | same_photograph(files))
    for row in read_csv(tmp_path / "set" / "Sc" / "tiles.csv"):
        assert groups[row["file"]] == row["photograph"].split(".png ")[0] + "_00.png"
    assert "is not empty" in here(tmp_path, "-m", "stablesdg.prepare", "raw", "set", ok=False)


def test_prepare_says_what_it_discards_and_whole_discards_nothing(tmp_path):
    """A dark defect over most of a bright piece, as a dark background would look."""
    pixels = np.full((120, 200), 220, dtype=np.uint8)
    pixels[:, 60:] = 20
    save_image(tmp_path / "raw" / "Cr" / "p.png", Image.fromarray(pixels))
    out = here(tmp_path, "-m", "stablesdg.prepare", "raw", "cut", "--size", "32")
    assert "70% of their area discarded" in out and "warning: 70% of Cr was taken for background" in out
    out = here(tmp_path, "-m", "stablesdg.prepare", "raw", "whole", "--size", "30", "--tile", "30", "--whole")
    assert "Cr: 24 tiles of 1 photograph; 0% of their area discarded" in out and "warning" not in out
    error = here(tmp_path, "-m", "stablesdg.prepare", "raw", "x", "--whole", "--dark", ok=False)
    assert "leave one of them out" in error


def test_prepare_says_what_lies_in_no_tile(tmp_path):
    save_image(tmp_path / "raw" / "Cr" / "p.png", Image.new("L", (100, 60), 99))
    out = here(tmp_path, "-m", "stablesdg.prepare", "raw", "cut", "--tile", "40", "--size", "40", "--whole")
    assert "Cr: 2 tiles" in out and "47% of the pieces, at their ends, lies in no tile" in out


def test_a_tile_that_was_moved_into_another_class_stays_a_tile_of_its_photograph(tmp_path):
    for name in ("Pa/1_00.png", "good/1_01.png", "good/2_00.png"):
        save_image(tmp_path / "set" / name, Image.new("L", (20, 20), 9))
    (tmp_path / "set" / "Pa" / "tiles.csv").write_text("file,photograph\n1_00.png,1.png\n1_01.png,1.png\n")
    files = {name: tmp_path / "set" / name for name in ("Pa/1_00.png", "good/1_01.png", "good/2_00.png")}
    assert same_photograph(files) == {("Pa/1_00.png", "good/1_01.png")}
    split = load_split(tmp_path / "split.json", [tmp_path / "set" / name for name in ("Pa", "good")], "group")
    assert split["files"]["Pa/1_00.png"]["part"] == split["files"]["good/1_01.png"]["part"]


@pytest.fixture
def coils(tmp_path):
    """Two classes of ten images each, one of each coil, as two files tiles.csv say."""
    for place, name in enumerate(("Pa", "Sc")):
        for k in range(10):
            save_image(tmp_path / "set" / name / f"{k}.png", photograph(10 * place + k).crop((0, 0, 64, 64)))
        rows = [f"{k}.png,coil-{k}" for k in range(10)]
        (tmp_path / "set" / name / "tiles.csv").write_text("\n".join(["file,photograph", *rows]))
    return tmp_path


def test_tiles_of_one_photograph_in_two_classes_lie_in_one_part_and_check_counts_those_that_do_not(coils):
    folders = [coils / "set" / name for name in ("Pa", "Sc")]
    files = {f"{folder.name}/{file.name}": file for folder in folders for file in list_images(folder)}
    assert same_photograph(files) == {(f"Pa/{k}.png", f"Sc/{k}.png") for k in range(10)}
    for seed in range(3):
        parts = load_split(coils / f"{seed}.json", folders, "group", seed)["files"]
        assert all(parts[f"Pa/{k}.png"]["part"] == parts[f"Sc/{k}.png"]["part"] for k in range(10))
    torn = {name: {"sha256": "", "group": name, "part": "train" if name.startswith("Pa") else "test"} for name in files}
    split = {"method": "random", "seed": 0, "ratios": [8, 1, 1], "files": torn}
    assert measure_leak_across(split, files).leaked == {f"Sc/{k}.png" for k in range(10)}


def test_plan_finds_a_photograph_whose_tiles_lie_in_two_given_parts_and_two_classes(coils):
    for part, name in (("train", "Pa"), ("test", "Sc")):
        (coils / part).mkdir()
        (coils / "set" / name).rename(coils / part / name)
    here(coils, "-m", "stablesdg.plan", ".", "--parts", "train", "test", ok=False)  # exit code 2: it leaks
    plan, = coils.glob("runs/*/plan/plan-parts.json")
    assert read_json(plan)["audit"]["leaked"] == [f"Sc/test/{k}.png" for k in range(10)]


def test_prepare_keeps_unlike_photographs_of_one_name_apart_and_joins_one_photograph_of_two_classes(tmp_path):
    for name, seeds in (("Pa", (0, 1)), ("Sc", (2, 1))):
        for k, seed in enumerate(seeds):
            save_image(tmp_path / "raw" / name / f"p{k}.png", photograph(seed))
    here(tmp_path, "-m", "stablesdg.prepare", "raw", "set", "--size", "64")
    files = {f"{name}/p{k}_00.png": tmp_path / "set" / name / f"p{k}_00.png" for name in ("Pa", "Sc") for k in (0, 1)}
    assert same_photograph(files) == {("Pa/p1_00.png", "Sc/p1_00.png")}


def test_a_list_of_tiles_that_names_no_image_of_its_folder_is_warned_of_once(coils):
    listed = coils / "set" / "Pa" / "tiles.csv"
    listed.write_text(listed.read_text().replace(".png", ""))
    warning = "warning: set/Pa/tiles.csv names no image of its folder ('0' first): write each file with its ending"
    assert here(coils, "-m", "stablesdg.split", "set").count(warning) == 1
    read_tiles.cache_clear()  # what a new process begins with
    out = here(coils, "-m", "stablesdg.split", "set", "--check")
    assert out.count(warning) == 1 and out.count("tiles.csv") == 1


def test_prepare_sorts_the_published_layouts_as_they_are(tmp_path):
    for name in ("IMAGES/crazing_1.jpg", "train/images/scratches/scratches_2.jpg", "Cr_7.bmp"):
        save_image(tmp_path / "NEU" / name, Image.new("L", (20, 20), 9))
    assert "3 images sorted" in here(tmp_path, "-m", "stablesdg.prepare", "NEU", "neu")
    assert sorted(str(f.relative_to(tmp_path / "neu")) for f in (tmp_path / "neu").rglob("*.*")) == [
        "Cr/Cr_7.bmp", "Cr/crazing_1.jpg", "Sc/scratches_2.jpg"]
    assert "leave out --tile" in here(tmp_path, "-m", "stablesdg.prepare", "NEU", "cut", "--tile", "9", ok=False)
    save_image(tmp_path / "NEU" / "cam2" / "Cr_7.bmp", Image.new("L", (20, 20), 7))
    assert "two images Cr_7.bmp of Cr" in here(tmp_path, "-m", "stablesdg.prepare", "NEU", "again", ok=False)


def test_otsu_parts_two_gray_levels():
    assert 40 <= otsu_threshold(Image.fromarray(np.repeat([40, 41, 200, 203], 50).astype(np.uint8)[None])) < 200


@pytest.mark.parametrize("length, side, overlap, expected", [
    (300, 100, 0, [0, 100, 200]), (300, 100, 0.5, [0, 50, 100, 150, 200]), (290, 100, 0, [45, 145]),
    (100, 100, 0.9, [0]), (260, 200, 0.7, [0, 60]), (310, 200, 0.45, [0, 110])])
def test_tiles_are_laid_evenly(length, side, overlap, expected):
    assert tile_starts(length, side, overlap) == expected


def test_check_and_plan_count_tiles_of_a_trained_photograph_as_leaked_but_none_that_was_left_out(tmp_path):
    parts = {"Pa/a.png": "train", "Pa/b.png": "test", "Pa/c.png": "left-out", "Pa/d.png": "val"}
    assert leaked_by_photograph(parts, {"Pa/a.png": "1", "Pa/b.png": "1", "Pa/c.png": "1", "Pa/d.png": "2"}) == {
        "Pa/b.png"}
    for k, name in enumerate("abcd"):
        save_image(tmp_path / "Pa" / f"{name}.png", photograph(k).crop((0, 0, 64, 64)))
    (tmp_path / "Pa" / "tiles.csv").write_text("file,photograph\na.png,p\nb.png,p\nc.png,p\nd.png,q\n")
    entries = {name: {"sha256": "", "group": name, "part": part} for name, part in parts.items()}
    split = {"method": "random", "seed": 0, "ratios": [8, 1, 1], "files": entries}
    assert "Pa/b.png" in measure_leak(split, listed_files(split, tmp_path / "Pa"), "Pa").leaked


def test_check_counts_a_tile_that_was_moved_into_another_class_away_from_its_trained_photograph(tmp_path):
    for k, name in enumerate(("A/kept.png", "B/moved.png")):
        save_image(tmp_path / name, photograph(k).crop((0, 0, 64, 64)))
    (tmp_path / "A" / "tiles.csv").write_text("file,photograph\nkept.png,p\nmoved.png,p\n")
    entries = {name: {"sha256": "", "group": name, "part": part}
               for name, part in (("A/kept.png", "train"), ("B/moved.png", "test"))}
    split = {"method": "random", "seed": 0, "ratios": [8, 1, 1], "files": entries}
    assert measure_leak_across(split, {name: tmp_path / name for name in entries}).leaked == {"B/moved.png"}
    assert leaked_by_photograph({"A/a": "train", "A/b": "test"}, {"A/a": "p", "A/b": "p"}, across=True) == set()


def test_two_photographs_whose_tiles_would_have_one_name_are_refused(tmp_path):
    for ending in ("png", "jpg"):
        save_image(tmp_path / "raw" / "Pa" / f"x.{ending}", photograph(0))
    assert "x.jpg and x.png would have the same names" in here(
        tmp_path, "-m", "stablesdg.prepare", "raw", "out", "--size", "64", ok=False)
    assert not (tmp_path / "out").exists()
