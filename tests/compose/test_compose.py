"""sample.py --compose and the flags of image-oriented generation, run as a user runs them."""
import csv
import json
import shutil

import numpy as np
import pytest
from commands import FLOAT32, here
from PIL import Image

from stablesdg.compose.given import read_boxes
from stablesdg.compose.labels import parts_of, read_mask
from stablesdg.compose.paste import region_to_redraw

RUN = ["sample.py", "--run", "runs/steel/patches", "--steps", "5", "--guidance", "2", *FLOAT32]
COMPOSE = [*RUN, "--compose", "--number", "3"]


def rows_of(folder):
    return list(csv.DictReader(open(folder / "manifest.csv")))


def pixels(file):
    return np.asarray(Image.open(file).convert("L")).astype(int)


@pytest.fixture(scope="module")
def composed(place):
    """The working directory with the same composites pasted and welded."""
    out = here(place, *COMPOSE, "--strength", "0", "--out", "pasted")
    assert "pasted, without the prior" in out and "warning: found defects are often wrong on striped" in out
    out = here(place, *COMPOSE, "--strength", "0.4", "--out", "welded", "--batch-size", "2")
    assert "seam: gradient across the border is" in out and "masks: tones" in out
    return place


def test_pixels_outside_of_the_region_are_those_of_the_pasted_and_of_the_source(composed):
    run = composed / "runs" / "steel" / "patches"
    assert (run / "preview-welded.png").is_file() and (run / "novelty-welded.png").is_file()
    for row in rows_of(run / "welded"):
        mask = read_mask(run / "welded" / "masks" / row["file"])
        welded, pasted = (pixels(run / name / row["file"]) for name in ("welded", "pasted"))
        region = region_to_redraw(mask, "seam")
        assert (welded == pasted)[~region].all() and (welded != pasted)[region].any()
        source = pixels(composed / "steel" / row["source"])
        source = source[::-1 if "y" in row["mirror"] else 1, ::-1 if "x" in row["mirror"] else 1]
        y, x = np.nonzero(mask)
        assert (welded[y, x] == source[y - int(row["dy"]), x - int(row["dx"])]).all()
        assert float(row["share"]) == pytest.approx(mask.mean(), abs=1e-4)


def test_sources_and_grounds_are_training_images_of_different_surfaces_and_both_are_seen(composed):
    split = json.loads((composed / "runs" / "steel" / "split.json").read_text())["files"]
    folder = composed / "runs" / "steel" / "patches" / "welded"
    seen = json.loads((folder / "settings.json").read_text())["seen"]
    for row in rows_of(folder):
        source, ground = split[row["source"]], split[row["ground"]]
        assert source["part"] == ground["part"] == "train" and source["group"] != ground["group"]
        assert {source["sha256"], ground["sha256"]} <= set(seen)


def test_boxes_are_those_of_the_masks(composed):
    folder = composed / "runs" / "steel" / "patches" / "welded"
    names = [folder / row["file"] for row in rows_of(folder)]
    assert json.loads((folder / "boxes" / "coco.json").read_text())["categories"][0]["name"] == "patches"
    for where in (folder / "boxes", folder / "boxes" / "coco.json"):
        boxes = read_boxes(where, names).boxes
        for name in names:
            assert list(boxes[name]) == [part.box for part in parts_of(read_mask(folder / "masks" / name.name))]


def test_a_composite_does_not_depend_on_the_batch_and_resuming_gives_the_same_bytes(composed):
    run = composed / "runs" / "steel" / "patches"
    settings = [*COMPOSE, "--strength", "0.4"]
    here(composed, *settings, "--out", "alone", "--batch-size", "1")
    for row in rows_of(run / "alone"):
        assert np.abs(pixels(run / "alone" / row["file"]) - pixels(run / "welded" / row["file"])).max() <= 1
    files = {f.relative_to(run / "alone"): f.read_bytes() for f in (run / "alone").rglob("*") if f.is_file()}
    assert len(files) == 2 + 3 + 3 + 2 + 6
    half = run / "alone.partial"
    (run / "alone").rename(half)
    (half / "made.json").write_text(json.dumps({row["file"]: row for row in rows_of(half)}))
    (half / "masks" / "00001.png").unlink()
    (half / "00002.png").unlink()
    here(composed, *settings, "--out", "alone", "--batch-size", "1", "--resume")
    assert {f.relative_to(run / "alone"): f.read_bytes() for f in (run / "alone").rglob("*") if f.is_file()} == files
    assert "already finished" in here(composed, *settings, "--out", "alone", "--resume")
    (run / "alone" / "masks" / "mine.png").write_bytes(b"")
    error = here(composed, *settings, "--out", "alone", ok=False)
    assert "masks/mine.png" in error and (run / "alone" / "masks" / "mine.png").is_file()


def test_fid_takes_the_folder_as_it_is(composed):
    assert "generated" in here(composed, "fid.py", "steel/patches", "runs/steel/patches/welded", "--features", "nano")


def test_given_masks_and_boxes_and_a_clean_ground(composed, tmp_path):
    sources = sorted((composed / "steel" / "patches").glob("*.png"))
    clean = tmp_path / "clean"
    for folder in (tmp_path / "masks", tmp_path / "boxes", clean):
        folder.mkdir()
    for source in sources:
        mask = np.zeros((200, 200), dtype=bool)
        mask[40:90, 50:120] = True
        Image.fromarray(mask).save(tmp_path / "masks" / source.name)
        (tmp_path / "boxes" / f"{source.stem}.txt").write_text("3 0.5 0.5 0.95 0.95\n0 0.1 0.1 0.1 0.1\n")
    for i, size in enumerate(((200, 200), (300, 250), (90, 400))):
        Image.new("L", size, 100 + i).save(clean / f"{i}.png")
    run = composed / "runs" / "steel" / "patches"
    pasted = [*COMPOSE, "--strength", "0", "--ground", clean]
    assert "found defects" not in here(composed, *pasted, "--masks", tmp_path / "masks", "--out", "by-mask")
    for row in rows_of(run / "by-mask"):
        assert row["mask"] == "given mask" and row["ground"].startswith("clean/")
        assert read_mask(run / "by-mask" / "masks" / row["file"]).sum() == 50 * 70
    here(composed, *pasted, "--boxes", tmp_path / "boxes", "--box-class", "3", "--out", "by-box")
    assert {row["mask"] for row in rows_of(run / "by-box")} == {"blobs in given boxes"}  # nearly all of the image
    error = here(composed, *pasted, "--masks", tmp_path / "boxes", ok=False)
    assert "no mask for 10 of the 10 source images" in error
    empty = rows_of(run / "by-mask")[0]["source"].removeprefix("patches/")
    Image.new("L", (200, 200)).save(tmp_path / "masks" / empty)
    said = here(composed, *pasted, "--masks", tmp_path / "masks", "--out", "without-one")
    assert f"1 of the 10 images are no sources, because their masks have no white pixel: {empty}" in said
    assert f"patches/{empty}" not in {row["source"] for row in rows_of(run / "without-one")}
    split = json.loads((composed / "runs" / "steel" / "split.json").read_text())["files"]
    held_out = next(name for name, entry in split.items() if entry["part"] == "test" and name.startswith("patches/"))
    shutil.copy(composed / "steel" / held_out, clean / "held-out.png")
    assert f"saw {held_out}" in here(composed, *pasted, ok=False)


@pytest.mark.parametrize("how", [("--compose", "--strength", "0"), ("--classic",)])
def test_what_needs_no_prior_needs_no_training(place, tmp_path, monkeypatch, how):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    said = here(place, "sample.py", "--data", "steel/pits", "--number", "2", *how)
    assert "wrote 2 images" in said and len(rows_of(tmp_path / "steel" / "pits" / "samples")) == 2
    assert "There is no run" in here(place, "sample.py", "--data", "steel/pits", ok=False)


@pytest.mark.parametrize("region", ["outside", "inside"])
def test_the_prior_redraws_the_region_that_is_asked_for(composed, region):
    run = composed / "runs" / "steel" / "patches"
    here(composed, *COMPOSE, "--strength", "0.4", "--region", region, "--out", region)
    for row in rows_of(run / region):
        area = region_to_redraw(read_mask(run / region / "masks" / row["file"]), region)
        changed = pixels(run / region / row["file"]) != pixels(run / "pasted" / row["file"])
        assert not changed[~area].any() and changed[area].mean() > 0.5 and row["region"] == region


def test_a_range_of_strengths_is_drawn_by_the_seed_and_each_image_says_its_own(place):
    run = place / "runs" / "steel" / "patches"
    for out, size in (("range", 8), ("range-alone", 1)):
        here(place, *RUN, "--strength", "0.2", "0.8", "--number", "4", "--out", out, "--batch-size", size)
    strengths = [float(row["s"]) for row in rows_of(run / "range")]
    assert len(set(strengths)) == 4 and all(0.2 <= s <= 0.8 for s in strengths)
    for i in range(4):
        assert (run / "range" / f"{i:05d}.png").read_bytes() == (run / "range-alone" / f"{i:05d}.png").read_bytes()
    here(place, *RUN, "--strength", str(strengths[2]), "--number", "4", "--out", "fixed", "--batch-size", "1")
    assert (run / "range" / "00002.png").read_bytes() == (run / "fixed" / "00002.png").read_bytes()


def test_sources_of_another_class_are_named_in_the_manifest(place):
    here(place, *RUN, "--strength", "0.3", "--number", "2", "--from", "steel/pits", "--out", "from-pits")
    rows = rows_of(place / "runs" / "steel" / "patches" / "from-pits")
    assert {row["source_class"] for row in rows} == {"pits"} and all(r["source"].startswith("pits/") for r in rows)
    assert "no class beside" in here(place, *RUN, "--from", "toy/unet", ok=False)


@pytest.mark.parametrize("options, told", [
    (["--region", "inside"], "belongs to --compose"), (["--compose", "--from-noise"], "real images"),
    (["--compose", "--masks", "a", "--boxes", "b"], "one of them"), (["--strength", "0.5", "0.2"], "no range"),
    (["--strength", "0.1", "0.2", "0.3"], "one number, or two"), (["--from", "a", "--compose"], "leave out --data")])
def test_options_that_contradict_each_other_are_refused(place, options, told):
    assert told in here(place, *RUN, *options, ok=False)
