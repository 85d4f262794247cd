"""`python -m stablesdg.rivals`: the folder that it writes, and what fid.py and classify.py make of it."""
import importlib
import json

import pytest
import torch
from commands import call, here
from PIL import Image

from stablesdg.data import steel
from stablesdg.data.images import save_image
from stablesdg.storage.files import read_csv, read_json, sha256, write_json

DCGAN = ["dcgan", "--size", 64, "--width", 16, "--batch-size", 4, "--number", 3, "--device", "cpu"]


def rivals(cwd, *arguments, ok=True):
    assert importlib.import_module("stablesdg.rivals.__main__")
    return here(cwd, "-m", "stablesdg.rivals.__main__", *arguments, ok=ok)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two classes of gray images of 40 x 50 pixels, with a random split."""
    place = tmp_path_factory.mktemp("rivals")
    for category in ("patches", "scratches"):
        for i in range(12):
            image = steel.steel_image(category, i).crop((0, 0, 40, 50)).convert("L")
            save_image(place / "steel" / category / f"{i}.png", image)
    here(place, "-m", "stablesdg.split", "steel", "--split", "random")
    return place


def test_its_folder_is_that_of_sample_py_and_fid_and_classify_take_it(place):
    for category in ("patches", "scratches"):
        rivals(place, *DCGAN, "--data", f"steel/{category}", "--steps", 4)
    run = place / "runs" / "steel" / "rivals" / "dcgan"
    folder = run / "patches"
    rows = read_csv(folder / "samples" / "manifest.csv")
    assert [row["file"] for row in rows] == ["00000.png", "00001.png", "00002.png"]
    assert {row["sampler"] for row in rows} == {"dcgan"} and {row["source"] for row in rows} == {""}
    with Image.open(folder / "samples" / "00000.png") as image:
        assert image.size == (40, 50) and image.mode == "L"
    split = read_json(place / "runs" / "steel" / "split.json")["files"]
    train = sorted(e["sha256"] for name, e in split.items() if e["part"] == "train" and name.startswith("patches/"))
    assert read_json(folder / "samples" / "settings.json")["seen"] == train
    record = read_json(folder / "run.json")
    assert record["steps"] == 4 and record["parameters"] > 0 and sorted(record["train_sha256"]) == train
    assert {f.name for f in folder.iterdir()} == {"samples", "model.safetensors", "checkpoint.safetensors", "run.json",
                                                  "log.csv", "preview-samples.png", "novelty-samples.png"}
    out = here(place, "fid.py", "steel/patches", folder / "samples", "--features", "nano", "--reference", "train")
    assert "known to the generator" in out
    here(place, "classify.py", "--data", "steel", "--generated", run, "--mode", "expand", "--epochs", 1)


def test_a_finished_rival_is_read_and_more_steps_go_on_to_the_same_bytes(place):
    arguments = [*DCGAN, "--data", "steel/patches", "--out", place / "one"]
    rivals(place, *arguments, "--steps", 2)
    first = sha256(place / "one" / "model.safetensors")
    out = rivals(place, *arguments, "--steps", 2, "--number", 4, "--resume")
    assert "already trained" in out and sha256(place / "one" / "model.safetensors") == first
    assert len(read_csv(place / "one" / "samples" / "manifest.csv")) == 4
    out = rivals(place, *arguments, "--steps", 2, "--number", 4, "--resume")
    assert "already finished" in out
    assert "resuming after 2 steps" in rivals(place, *arguments, "--steps", 5, "--resume")
    rivals(place, *DCGAN, "--data", "steel/patches", "--out", place / "two", "--steps", 5)
    tensors = [load(place / name / "model.safetensors") for name in ("one", "two")]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    images = [(place / name / "samples" / "00002.png").read_bytes() for name in ("one", "two")]
    assert images[0] == images[1]


def load(file):
    from stablesdg.storage.tensors import load_tensors

    return load_tensors(file)[0]


def test_other_settings_and_leaks_are_refused(place):
    arguments = [*DCGAN, "--data", "steel/patches", "--out", place / "three", "--steps", 2]
    rivals(place, *arguments)
    assert "seed was 0 and is 1" in rivals(place, *arguments, "--steps", 3, "--seed", 1, "--resume", ok=False)
    manifest = place / "runs" / "steel" / "split.json"
    before = read_json(manifest)
    changed = json.loads(json.dumps(before))
    name = next(n for n, e in before["files"].items() if e["part"] == "train" and n.startswith("patches/"))
    changed["files"][name]["part"] = "test"
    write_json(manifest, changed)
    assert f"saw {name}, which is in the test part" in rivals(place, *arguments, "--resume", ok=False)
    write_json(manifest, before)


def test_an_option_that_means_nothing_to_a_rival_is_refused(place, nano):
    assert "--latents means nothing to dcgan" in rivals(place, *DCGAN, "--data", "steel/patches", "--latents", ok=False)
    assert "64, 128, 256" in rivals(place, *DCGAN, "--data", "steel/patches", "--size", 65, ok=False)
    prompted = ["textual-inversion", "--data", "steel/patches", "--weights", nano, "--prompt", "A photo"]
    assert "nothing could be learned" in rivals(place, *prompted, ok=False)
    assert "add --latents" in rivals(place, "ddpm", "--data", "steel/patches", "--weights", "x", ok=False)
    for name, *option in (("stylegan3", "--no-augmentation"), ("dcgan", "--prior-preservation", 0)):
        assert f"{option[0].replace('--no-', '--')} means nothing to {name}" in rivals(
            place, name, "--data", "steel/patches", *option, ok=False)
    assert "not enough for stylegan3" in rivals(place, "stylegan3", "--data", "steel/patches", "--dtype", "bfloat16",
                                                ok=False)
    assert "1000 levels of noise" in rivals(place, "ddpm", "--data", "steel/patches", "--draw-steps", 2000, ok=False)


@pytest.mark.parametrize("name, options", [
    ("ddim", ["--size", 64, "--width", 8, "--draw-steps", 2]),
    ("stylegan3", ["--size", 64, "--width", 4, "--rotation", "--gamma", 2, "--truncation", 0.7]),
    ("textual-inversion", ["--draw-steps", 2, "--size", 32]),
    ("dreambooth", ["--draw-steps", 2, "--size", 32, "--prior-preservation", 2])])
def test_the_other_rivals_write_the_same_folder(place, nano, name, options):
    weights = [] if name in ("ddim", "stylegan3") else ["--weights", nano, "--dtype", "float32"]
    out = rivals(place, name, "--data", "steel/patches", "--steps", 2, "--batch-size", 2, "--number", 2, "--device",
                 "cpu", *options, *weights)
    folder = place / "runs" / "steel" / "rivals" / name / "patches"
    rows = read_csv(folder / "samples" / "manifest.csv")
    assert len(rows) == 2 and {row["sampler"] for row in rows} == {"stylegan3" if name == "stylegan3" else "ddim"}
    assert {row["steps"] for row in rows} == {"" if name == "stylegan3" else "2"}
    with Image.open(folder / "samples" / "00000.png") as image:
        assert image.size == (40, 50) and image.mode == "L"
    if name == "dreambooth":
        assert "2 class images by 'A photo of a steel surface': 0 are there" in out
        assert sorted(f.name for f in (folder / "class-images").iterdir()) == ["00000.png", "00001.png"]


def test_minutes_end_a_training_and_the_module_runs_by_its_name(place):
    out = call(place, "-m", "stablesdg.rivals", *DCGAN, "--data", "steel/patches", "--minutes", "0.01", "--out",
               place / "short")
    assert "wrote 3 images" in out and 0 < read_json(place / "short" / "run.json")["steps"] < 10_000
