"""Every stage of the paper, run as a user runs it, on a random toy model and procedural steel images."""
import csv
import json
import shutil

import pytest
import torch
from commands import FLOAT32, TRAINING, here
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import expand
from stablesdg import train


def test_a_run_folder_holds_what_the_readme_promises(place):
    folder = place / "runs" / "steel" / "patches"
    names = {f.name for f in folder.iterdir()}
    assert names == {"run.json", "embedding.safetensors", "lora.safetensors", "samples", "log-ti.csv", "log-lora.csv",
                     "loss-ti.png", "loss-lora.png", "preview-ti.png", "preview-lora.png", "preview-samples.png",
                     "novelty-samples.png"}
    record = json.loads((folder / "run.json").read_text())
    assert set(record["stages"]) == {"ti", "lora", "sample"}
    assert record["stages"]["ti"]["arguments"]["lr"] == 5e-4 and record["stages"]["lora"]["arguments"]["lr"] == 1e-4
    embedding = load_file(folder / "embedding.safetensors")
    assert list(embedding) == ["<unknown>"] and embedding["<unknown>"].shape[1] == 32
    with safe_open(folder / "lora.safetensors", "pt") as file:
        assert file.metadata()["ss_network_dim"] == "1" and len(list(file.keys())) == 3 * 140
    assert len(list(csv.DictReader(open(folder / "log-ti.csv")))) == 7
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())
    assert {entry["part"] for entry in split["files"].values()} == {"train", "val", "test"}


def test_samples_have_size_and_mode_of_their_sources_and_come_from_the_training_part(place):
    samples = place / "runs" / "steel" / "patches" / "samples"
    rows = list(csv.DictReader(open(samples / "manifest.csv")))
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    assert [row["file"] for row in rows] == [f"{i:05d}.png" for i in range(5)]
    for row in rows:
        image = Image.open(samples / row["file"])
        assert image.size == (200, 200) and image.mode == "L"
        assert split[row["source"]]["part"] == "train" and (row["s"], row["w"], row["sampler"]) == ("0.4", "2", "ddim")


def test_an_image_does_not_depend_on_batch_size_or_number(place):
    settings = ["--strength", "0.4", "--steps", "5", "--guidance", "2", "--run", "runs/steel/patches", *FLOAT32]
    here(place, "sample.py", *settings, "--number", "3", "--batch-size", "1", "--out", "./alone")
    for i in range(3):
        together, alone = (Image.open(folder / f"{i:05d}.png").tobytes() for folder in
                           (place / "runs" / "steel" / "patches" / "samples", place / "alone"))
        assert max(abs(a - b) for a, b in zip(together, alone)) <= 1  # float32 rounding at the edge of a gray level


def test_sampling_from_noise_without_adapters_by_algorithm_1(place):
    out = here(place, "sample.py", "--run", "runs/steel/patches", "--from-noise", "--adapters", "none",
               "--sampler", "paper", "--steps", "3", "--number", "2", "--guidance", "1.5", "--out", "./noise")
    assert "adapters: none" in out and "3 steps from t = 999" in out
    assert [row["source"] for row in csv.DictReader(open(place / "noise" / "manifest.csv"))] == ["", ""]


def test_a_preview_makes_no_image_of_more_than_512_pixels_a_side_and_four_at_once(place, tmp_path, monkeypatch):
    from stablesdg.app import preview

    folder = tmp_path / "tiles" / "long"
    folder.mkdir(parents=True)
    for i in range(6):
        Image.open(place / "steel" / "pits" / f"{i:03d}.png").resize((700, 90)).save(folder / f"{i}.png")
    seen = []

    def note(sd, x, *arguments, **keywords):
        seen.append(tuple(x.shape))
        return x

    monkeypatch.setattr(preview, "generate", note)
    here(tmp_path, "train_ti.py", "--data", folder, "--weights", place / "toy", *TRAINING, "--resolution", "native",
         "--iterations", "1", "--batch-size", "1", "--crop", "64")
    assert seen and all(max(shape[2:]) <= 512 and shape[0] <= 4 for shape in seen)
    assert preview.preview_resolution(folder / "0.png", 32) == 32


def test_full_adaptation_can_be_sampled_from(place):
    here(place, "train_lora.py", "--full", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--no-preview",
         "--out", "runs/full/pits")
    out = here(place, "sample.py", "--run", "runs/full/pits", "--strength", "0.3", "--number", "2", "--steps", "4",
               "--guidance", "2")
    assert "adapters: full" in out
    assert "replaced" in here(place, "sample.py", "--run", "runs/full/pits", "--uncond", "base", ok=False)


def test_images_of_mixed_sizes_and_modes_train_at_native_resolution_and_come_back_as_they_were(place):
    folder = place / "mixed parts" / "rolled scale"
    folder.mkdir(parents=True)
    shapes = [((61, 83), "RGB"), ((48, 48), "L"), ((100, 41), "L"), ((48, 48), "RGB"), ((61, 83), "L")]
    for i, (size, mode) in enumerate(shapes):
        Image.open(place / "steel" / "pits" / f"{i:03d}.png").resize(size).convert(mode).save(folder / f"{i}.bmp")
    training = [*TRAINING, "--resolution", "native", "--batch-size", "3"]
    here(place, "train_ti.py", "--data", "mixed parts/rolled scale/", "--weights", "toy", *training)
    out = here(place, "train_lora.py", "--data", "mixed parts/rolled scale/", *training)
    assert "3 training images" in out and "at their own size" in out
    run_folder = place / "runs" / "mixed parts" / "rolled scale"
    here(place, "sample.py", "--run", run_folder, "--number", "7", "--steps", "3", "--guidance", "2",
         "--strength", "0.5")
    for row in csv.DictReader(open(run_folder / "samples" / "manifest.csv")):
        made, source = Image.open(run_folder / "samples" / row["file"]), Image.open(folder.parent / row["source"])
        assert (made.size, made.mode) == (source.size, source.mode)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images_are_enough_to_adapt_to_without_anything_held_out(place, tmp_path, count):
    folder = tmp_path / "few" / "images"
    folder.mkdir(parents=True)
    for i in range(count):
        shutil.copy(place / "steel" / "pits" / f"{i:03d}.png", folder)
    out = here(tmp_path, "train_ti.py", "--data", "few/images", "--weights", place / "toy", *TRAINING, "--no-preview")
    assert f"{count} training images" in out and "0 held out" in out and "held-out loss" not in out


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", [["train_ti.py"], ["train_lora.py"], ["train_lora.py", "--full"]])
def test_training_in_half_precision_follows_float32(place, tmp_path, dtype, method):
    """What is trained stays float32; the loss agrees with float32's to the digits that half precision has."""
    losses = {}
    for kind in ("float32", dtype):
        here(place, *method, "--data", "steel/patches", "--weights", "toy", *TRAINING[:-1], kind, "--no-preview",
             "--iterations", "2", "--out", tmp_path / kind)
        stage = "ti" if method[0] == "train_ti.py" else method[-1].removeprefix("--").replace("train_lora.py", "lora")
        rows = csv.DictReader(open(tmp_path / kind / f"log-{stage}.csv"))
        losses[kind] = [float(row["loss"]) for row in rows if row["loss"]]
        trained = load_file(next((tmp_path / kind).glob("[elf]*.safetensors")))
        assert all(t.dtype == torch.float32 for t in trained.values())
    assert losses[dtype] == pytest.approx(losses["float32"], rel=0.02) and losses[dtype] != losses["float32"]


def test_rank_alpha_and_seed_reach_the_lora(place, tmp_path):
    found = {}
    for seed in (0, 1):
        here(place, "train_lora.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--iterations", "1",
             "--rank", "2", "--alpha", "3", "--seed", seed, "--no-preview", "--out", tmp_path / str(seed))
        found[seed] = load_file(tmp_path / str(seed) / "lora.safetensors")
    down = {key: value for key, value in found[0].items() if "lora_down" in key}
    assert down and all(len(value) == 2 for value in down.values())
    assert {float(value) for key, value in found[0].items() if key.endswith("alpha")} == {3.0}
    assert all((found[1][key] - value).abs().max() > 0.1 for key, value in down.items())


def test_a_crop_in_pixels_is_one_in_positions_of_the_latent(place, tmp_path, monkeypatch):
    crops, draw = [], train.draw_batch
    monkeypatch.setattr(train, "draw_batch", lambda sd, posteriors, indices, generator, crop=None: (
        crops.append(crop), draw(sd, posteriors, indices, generator, crop))[1])
    here(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--iterations", "1", "--crop",
         "16", "--no-preview", "--out", tmp_path / "run")
    assert set(crops) == {2}


def test_a_budget_is_hours_or_minutes():
    assert expand.hours("1.5h") == 5400
    assert (expand.hours("8h"), expand.hours("90m")) == (28800, 5400)
