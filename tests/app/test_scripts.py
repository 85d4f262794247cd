"""Every command line, run as a user runs it, on a random toy model and procedural steel images."""
import csv
import json
import shutil
import signal

import pytest
import torch
from commands import FLOAT32, TRAINING, call, here
from conftest import ROOT
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from stablesdg import train
from stablesdg.app import devices, model, sampling
from stablesdg.app.command_line import run_main
from stablesdg.storage.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy, steel):
    """A working directory with data in steel/ and, after the paper's three stages, runs/steel/patches."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(steel, place / "steel")
    shutil.copytree(toy, place / "toy")
    out = call(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING)
    assert "runs/steel/patches/embedding.safetensors" in out
    out = call(place, "train_lora.py", "--rank", "1", "--data", "steel/patches", *TRAINING)
    assert "v_d* from" in out and "runs/steel/patches/lora.safetensors" in out
    out = call(place, "sample.py", "--strength", "0.4", "--number", "5", "--steps", "5", "--guidance", "2", *FLOAT32)
    assert "2 steps from t = 399" in out and "fewer than 10 lose fine detail: --steps 25 keeps" in out
    return place


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


def test_an_interrupted_sampling_resumes_and_refuses_other_settings(place):
    run = ["--run", "runs/steel/patches", "--steps", "5", "--guidance", "2", "--number", "3", "--out", "./again",
           "--batch-size", "2", *FLOAT32]
    here(place, "sample.py", "--strength", "0.4", *run)
    (place / "again").rename(place / "again.partial")
    first = (place / "again.partial" / "00000.png").read_bytes()
    (place / "again.partial" / "00002.png").unlink()
    error = here(place, "sample.py", "--strength", "0.6", *run, "--resume", ok=False)
    assert "other settings (s was 0.4 and is 0.6)" in error
    here(place, "sample.py", "--strength", "0.4", *run, "--resume")
    assert len(list((place / "again").glob("*.png"))) == 3 and (place / "again" / "00000.png").read_bytes() == first
    assert "already finished" in here(place, "sample.py", "--strength", "0.4", *run, "--resume")
    assert "will be replaced" in here(place, "sample.py", "--strength", "0.6", *run, "--resume")


@pytest.mark.parametrize("script, stage, extra", [
    ("train_ti.py", "ti", []), ("train_lora.py", "lora", ["--gradient-checkpointing"]),
    ("train_lora.py", "full", ["--full"])])
def test_a_resumed_training_ends_with_the_same_bytes(place, tmp_path, monkeypatch, script, stage, extra):
    """Interrupted after a checkpoint and resumed, against never stopped."""
    base = [script, "--data", "steel/patches", "--weights", "toy", *TRAINING, *extra]
    save = Checkpoint.save

    def save_and_stop(checkpoint, parameters, optimiser, record):
        save(checkpoint, parameters, optimiser, record)
        if len(record["losses"]) == 4:
            raise KeyboardInterrupt

    def start(out, kill, *more, ok=True):
        monkeypatch.setattr(train, "LOG_STEPS", 2)
        monkeypatch.setattr(Checkpoint, "save", save_and_stop if kill else save)
        return here(place, *base, "--out", tmp_path / out, *more, ok=ok)

    start("whole", False)
    assert "--resume" in start("parts", True, ok=False)
    assert (tmp_path / "parts" / f"checkpoint-{stage}.safetensors").is_file()
    assert "lr was" in here(place, *base, "--out", tmp_path / "parts", "--resume", "--lr", "0.5", ok=False)
    assert "resuming after 4 iterations" in start("parts", False, "--resume")
    name = {"ti": "embedding", "lora": "lora", "full": "full"}[stage] + ".safetensors"
    for file in (name, f"log-{stage}.csv"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()
    assert not (tmp_path / "parts" / f"checkpoint-{stage}.safetensors").exists()
    assert "already finished" in start("parts", False, "--resume")
    if stage == "lora":
        (tmp_path / "parts" / "embedding.safetensors").write_bytes(b"another")
        assert "embedding.safetensors was another" in start("parts", False, "--resume", ok=False)
        assert "no rank" in here(place, *base, "--full", "--rank", "8", ok=False)


@pytest.mark.parametrize("steps_done", [1, 3, 6])
def test_ctrl_c_saves_after_any_iteration_and_a_resumed_training_has_the_same_bytes(place, tmp_path, monkeypatch,
                                                                                    steps_done):
    """A real signal in the middle of a step, long before the first minute."""
    loss, calls, handler = train.denoising_loss, [], signal.getsignal(signal.SIGINT)

    def press(*arguments):
        if len(arguments) < 6 or arguments[5] == "mean":  # not a measurement of the held-out loss
            calls.append(1)
            if len(calls) == steps_done:
                signal.raise_signal(signal.SIGINT)
        return loss(*arguments)

    base = ["train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--no-preview", "--out"]
    here(place, *base, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(train, "denoising_loss", press)
        error = here(place, *base, tmp_path / "parts", ok=False)
    assert f"saved after {steps_done} iteration" in error and "--resume goes on" in error
    assert signal.getsignal(signal.SIGINT) is handler
    assert f"resuming after {steps_done} iteration" in here(place, *base, tmp_path / "parts", "--resume")
    for file in ("embedding.safetensors", "log-ti.csv"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_what_is_stopped_before_anything_is_saved_does_not_claim_the_contrary(place, tmp_path, monkeypatch):
    def stop(*arguments, **keywords):
        raise KeyboardInterrupt

    training = ["train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--out", tmp_path / "run"]
    sampling = ["sample.py", "--run", "runs/steel/patches", "--number", "2", "--steps", "3", "--out", "unfinished"]
    with monkeypatch.context() as patch:
        patch.setattr(train, "draw_batch", stop)
        error = here(place, *training, ok=False)
        assert "nothing of this training is saved" in error and "--resume" not in error
        patch.setattr("stablesdg.app.sampling.generate", stop)
        error = here(place, *sampling, ok=False)
        assert "no image was finished" in error and "--resume" not in error


def test_a_stage_is_recorded_before_its_preview_and_a_kill_in_the_preview_leaves_it_finished(place, tmp_path,
                                                                                           monkeypatch):
    def stop(*arguments, **keywords):
        raise KeyboardInterrupt

    base = ["train_ti.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--out", tmp_path]
    with monkeypatch.context() as patch:
        patch.setattr("stablesdg.app.training.generate", stop)
        error = here(place, *base, ok=False)
    assert "the ti stage is finished and recorded" in error and not (tmp_path / "preview-ti.png").exists()
    stage = json.loads((tmp_path / "run.json").read_text())["stages"]["ti"]
    assert "preview_seconds" not in stage and not (tmp_path / "checkpoint-ti.safetensors").exists()
    assert "already finished" in here(place, *base, "--resume")
    assert "drawing" not in here(place, *base, "--no-preview") and not (tmp_path / "preview-ti.png").exists()
    assert "drawing preview-ti.png" in here(place, *base)
    assert json.loads((tmp_path / "run.json").read_text())["stages"]["ti"]["preview_seconds"] > 0


def test_a_preview_makes_no_image_of_more_than_512_pixels_a_side_and_four_at_once(place, tmp_path, monkeypatch):
    from stablesdg.app import training

    folder = tmp_path / "tiles" / "long"
    folder.mkdir(parents=True)
    for i in range(6):
        Image.open(place / "steel" / "pits" / f"{i:03d}.png").resize((700, 90)).save(folder / f"{i}.png")
    seen = []

    def note(sd, x, *arguments, **keywords):
        seen.append(tuple(x.shape))
        return x

    monkeypatch.setattr(training, "generate", note)
    here(tmp_path, "train_ti.py", "--data", folder, "--weights", place / "toy", *TRAINING, "--resolution", "native",
         "--iterations", "1", "--batch-size", "1", "--crop", "64")
    assert seen and all(max(shape[2:]) <= 512 and shape[0] <= 4 for shape in seen)
    assert training.preview_resolution(folder / "0.png", 32) == 32


def test_a_bare_name_goes_into_the_run_folder_and_a_path_with_a_slash_stays_as_it_is(place):
    settings = ["sample.py", "--run", "runs/steel/patches", "--number", "1", "--steps", "2", "--guidance", "2",
                "--strength", "0.4"]
    run = place / "runs" / "steel" / "patches"
    out = here(place, *settings, "--out", "named")
    assert out.splitlines()[0] == f"sample.py: runs/steel/patches -> {run / 'named'}"
    assert (run / "named" / "manifest.csv").is_file() and (run / "preview-named.png").is_file()
    here(place, *settings, "--out", "elsewhere/slash")
    assert (place / "elsewhere" / "slash" / "manifest.csv").is_file() and (run / "preview-slash.png").is_file()
    for name in ("preview-named.png", "novelty-named.png", "preview-slash.png", "novelty-slash.png"):
        (run / name).unlink()
    shutil.rmtree(run / "named")


def test_runs_are_found_from_another_folder_by_option_and_by_environment(place, tmp_path, monkeypatch):
    settings = ["--number", "1", "--steps", "2", "--guidance", "2", "--strength", "0.4", "--out", f"{tmp_path}/made"]
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path / "nowhere"))
    assert f"no run in {tmp_path / 'nowhere'} yet" in here(tmp_path, "sample.py", *settings, ok=False)
    out = here(tmp_path, "sample.py", "--runs", place / "runs", *settings)  # an option is stronger
    assert out.splitlines()[0].endswith(f"-> {tmp_path / 'made'}") and "wrote 1 images" in out
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path / "others"))
    out = here(place, "train_ti.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--no-preview")
    assert out.splitlines()[0] == f"train_ti.py: steel/pits -> {tmp_path / 'others' / 'steel' / 'pits'}"
    assert (tmp_path / "others" / "steel" / "pits" / "run.json").is_file()
    assert (tmp_path / "others" / "steel" / "split.json").is_file()
    (place / "runs" / "steel" / "patches" / "preview-made.png").unlink()
    (place / "runs" / "steel" / "patches" / "novelty-made.png").unlink()


@pytest.mark.parametrize("script", ["train_ti.py", "sample.py"])
def test_the_first_line_is_printed_before_torch_is_imported(place, script):
    arguments = {"train_ti.py": ["--data", "steel/patches"], "sample.py": ["--run", "runs/steel/patches"]}[script]
    code = ("import runpy, sys\n"
            f"sys.argv = {[script, *arguments]!r}\n"
            "class Stop:\n"
            "    def find_spec(self, name, *rest):\n"
            "        if name == 'torch': raise SystemExit('torch is asked for')\n"
            "sys.meta_path.insert(0, Stop())\n"
            "print('start', flush=True)\n"
            "try: runpy.run_path({!r}, run_name='__main__')\n"
            "except SystemExit as stop: print(stop)").format(str(ROOT / script))
    lines = call(place, "-c", code).splitlines()
    assert lines[0] == "start" and lines[1].startswith(f"{script}: ") and lines[2] == "torch is asked for"


def test_a_log_file_gets_plain_lines_instead_of_bars(place, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "LOG_STEPS", 3)
    base = ["train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--no-preview", "--out", tmp_path]
    lines = [line for line in here(place, *base).splitlines() if line.startswith("iteration ")]
    assert [line.split(":")[0] for line in lines] == ["iteration 3 of 6", "iteration 6 of 6"]
    assert all("loss 0." in line or "loss 1." in line for line in lines) and "held out" in lines[-1]
    printed = call(place, *base)
    assert "iteration 6 of 6: loss" in printed and "%|" not in printed


@pytest.mark.parametrize("speed, dtype, told", [
    (0.6, torch.float32, "float32: bfloat16 would be 0.6 times as fast here"),
    (2.5, torch.bfloat16, "bfloat16: bfloat16 is 2.5 times as fast here"),
    (1.1, torch.float32, "float32: bfloat16 would be 1.1 times as fast here")])
def test_the_number_format_follows_what_was_measured(nano, monkeypatch, capsys, speed, dtype, told):
    monkeypatch.setattr(devices, "bfloat16_speed", lambda: speed)
    cpu = torch.device("cpu")
    assert devices.pick_dtype("auto", cpu) == dtype and devices.pick_dtype("float32", cpu) == torch.float32
    model.open_model(str(nano), "cpu", "auto")
    assert f"(--weights); cpu, {told}\n" in capsys.readouterr().out
    model.open_model(str(nano), "cpu", "float32")
    assert "cpu, float32\n" in capsys.readouterr().out


@pytest.mark.parametrize("novelty, s, told", [
    (0.1, 0.4, "near copies"), (0.1, 0.0, ""), (1.0, 0.4, ""), (10.0, 0.4, "unlike anything real")])
def test_copies_and_images_unlike_anything_real_are_warned_of(capsys, novelty, s, told):
    maker = sampling.ImageMaker(lambda x, seeds: x, "", {}, None, 1, {"s": s}, frozenset(), sd=object())
    sampling.warn_of_novelty(novelty, maker)
    out = capsys.readouterr().out
    assert told in out and out.count("\n") == bool(told)


def test_a_choice_that_chance_made_or_that_lies_below_the_floor_is_told_by_sample(place, tmp_path):
    run = shutil.copytree(place / "runs" / "steel" / "patches", tmp_path / "patches")
    record = json.loads((run / "run.json").read_text())
    tuned = {"s": 0.3, "w": 2.0, "sampler": "ddim", "steps": 4}
    for more, told in (({"told_apart": False, "below_floor": True}, True), ({"told_apart": True}, False), ({}, False)):
        (run / "run.json").write_text(json.dumps(record | {"tuned": tuned | more}))
        out = here(place, "sample.py", "--run", run, "--number", "1")
        assert "tune.py chose s = 0.3" in out
        assert ("could not tell this choice" in out) == told and ("below the floor" in out) == told


def test_full_adaptation_can_be_sampled_from(place):
    here(place, "train_lora.py", "--full", "--data", "steel/pits", "--weights", "toy", *TRAINING,
         "--out", "runs/full/pits")
    out = here(place, "sample.py", "--run", "runs/full/pits", "--strength", "0.3", "--number", "2", "--steps", "4",
               "--guidance", "2")
    assert "adapters: full" in out
    assert "replaced" in here(place, "sample.py", "--run", "runs/full/pits", "--uncond", "base", ok=False)


def test_a_lora_trained_with_another_embedding_is_refused(place, tmp_path):
    run = shutil.copytree(place / "runs" / "steel", tmp_path / "steel") / "patches"
    here(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--seed", "5", "--out", run)
    assert "another embedding" in here(place, "sample.py", "--run", run, "--strength", "0.4", ok=False)


def test_a_lora_trained_before_the_embedding_is_not_combined_with_it_silently(place, tmp_path):
    here(place, "train_lora.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--out", tmp_path / "pits")
    here(place, "train_ti.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--out", tmp_path / "pits")
    assert "another embedding" in here(place, "sample.py", "--run", tmp_path / "pits", "--strength", "0.4", ok=False)
    out = here(place, "sample.py", "--run", tmp_path / "pits", "--adapters", "lora", "--number", "1", "--steps", "2",
               "--guidance", "2", "--strength", "0.4")
    assert "adapters: lora" in out


def test_resuming_on_other_images_is_refused(place, tmp_path, monkeypatch):
    save = Checkpoint.save

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    base = ["train_ti.py", "--weights", "toy", *TRAINING, "--out", tmp_path / "run"]
    here(place, *base, "--data", "steel/pits", ok=False)
    assert "other settings (images)" in here(place, *base, "--data", "steel/scratches", "--resume", ok=False)


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
    out = here(tmp_path, "train_ti.py", "--data", "few/images", "--weights", place / "toy", *TRAINING)
    assert f"{count} training images" in out and "0 held out" in out and "held-out loss" not in out


def test_adapters_that_saw_a_test_image_are_refused_wherever_they_are_used(place, tmp_path):
    """The same images under another split: what was trained before is of no use with it."""
    shutil.copytree(place / "runs" / "steel", tmp_path / "runs" / "steel")
    manifest = tmp_path / "runs" / "steel" / "split.json"
    split = json.loads(manifest.read_text())
    patches = [name for name in split["files"] if name.startswith("patches")]
    part = {name: split["files"][name]["part"] for name in patches}
    train, test = (next(name for name in patches if part[name] == p) for p in ("train", "test"))
    split["files"][train]["part"], split["files"][test]["part"] = "test", "train"
    manifest.write_text(json.dumps(split))
    (tmp_path / "steel").symlink_to(place / "steel")
    for command in (["sample.py", "--run", "runs/steel/patches", "--number", "1"],
                    ["train_lora.py", "--data", "steel/patches", "--weights", place / "toy", *TRAINING],
                    ["classify.py", "--data", "steel", "--mode", "expand", "--generated", "runs/steel"]):
        for name in ("pits", "scratches"):
            shutil.copytree(place / "steel" / name, tmp_path / "runs" / "steel" / name / "samples", dirs_exist_ok=True)
            (tmp_path / "runs" / "steel" / name / "run.json").unlink(missing_ok=True)
        error = here(tmp_path, *command, ok=False)
        assert train in error and "test part" in error, error


@pytest.mark.parametrize("command, message", [
    (["train_ti.py", "--data", "nowhere"], "There is no folder nowhere"),
    (["train_ti.py", "--data", "steel/pits", "--prompt", "A photo"], "does not contain the token"),
    (["train_ti.py", "--data", "steel"], "it holds the folders patches, pits, scratches"),
    (["train_ti.py", "--data", "steel/pits", "--weights", "model.ckpt"], "pickle"),
    (["train_ti.py", "--data", "steel/patches", "--resume", "--iterations", "7"], "--iterations was 6"),
    (["train_ti.py", "--data", "steel/pits", "--weights", "nowhere"], "There are no weights"),
    (["train_ti.py", "--data", "steel/pits", "--device", "tpu9"], "--device tpu9 cannot be used"),
    (["sample.py", "--run", "steel"], "is not a run folder"),
    (["sample.py", "--run", "runs/steel"], "--run runs/steel/patches for example"),
    (["sample.py", "--run", "runs/steel/patches", "--strength", "1.5"], "strength must lie"),
    (["sample.py", "--run", "runs/steel/patches", "--adapters", "lara"], "not lara"),
    (["sample.py", "--run", "runs/steel/patches", "--adapters", "full"], "has no full.safetensors"),
    (["sample.py", "--run", "runs/steel/patches", "--from-noise", "--strength", "0.5"], "leave out --strength"),
    (["sample.py", "--run", "runs/steel/patches", "--strength", "0.5", "--out", "steel/pits"], "something else"),
    (["fid.py", "steel/pits", "steel/patches"], "stablesdg.download --inception"),
    (["classify.py", "--data", "steel", "--mode", "expand"], "need --generated"),
    (["classify.py", "--mode", "none"], "--data DATASET is missing"),
    (["classify.py", "--data", "steel", "--mode", "expand", "--control", "steps"], "leave out --mode"),
    (["classify.py", "--predict", "steel/pits"], "need --model"),
    (["classify.py", "--predict", "steel/pits", "--model", "toy/unet/diffusion_pytorch_model.safetensors"],
     "not a classifier"),
    (["classify.py", "--data", "steel", "--mode", "expand", "--generated", "runs/unsampled"], "has no samples yet"),
    (["classify.py", "--data", "steel", "--pretrained", "nowhere.pth"], "nowhere.pth"),
    (["classify.py", "--data", "steel/pits"], "the folder above it")])
def test_what_a_user_can_mend_is_one_sentence_and_exit_code_1(place, command, message):
    (place / "model.ckpt").touch()
    (place / "runs" / "unsampled" / "patches").mkdir(parents=True, exist_ok=True)
    (place / "runs" / "unsampled" / "patches" / "run.json").write_text("{}")
    if command[0] == "fid.py":
        from stablesdg.weights.read import WEIGHTS
        if list(WEIGHTS.glob("pt_inception*")):
            pytest.skip("the Inception weights are there")
    error = here(place, *command, ok=False)
    assert error.splitlines()[-1].startswith("error: ") and message in error and "Traceback" not in error


def test_a_folder_with_files_of_another_origin_is_never_replaced(place):
    out = place / "precious"
    (out / ".git").mkdir(parents=True)
    (out / "manifest.csv").write_text("id,label\n")
    error = here(place, "sample.py", "--run", "runs/steel/patches", "--number", "1", "--steps", "5", "--out", out,
                 ok=False)
    assert "something else than generated images (.git)" in error and (out / ".git").is_dir()


def test_a_prompt_that_is_too_long_for_its_learned_token_is_refused(place):
    error = here(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--out", "runs/long",
                 "--prompt", "A close photo of " + 12 * "hot-rolled steel " + "with <unknown>", ok=False)
    assert "shorten the prompt" in error


@pytest.mark.parametrize("error, told", [
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "lower --batch-size"),
    (PermissionError(13, "Permission denied", "runs"), "Permission denied: 'runs'")])
def test_a_lack_of_memory_or_of_rights_is_told_in_one_line(error, told, capsys):
    def fail():
        raise error

    with pytest.raises(SystemExit):
        run_main(fail)
    assert told in capsys.readouterr().err


def test_sampling_before_any_training_says_which_command_comes_first(tmp_path):
    assert "python train_ti.py --data neu/Pa" in here(tmp_path, "sample.py", "--strength", "0.4", ok=False)


@pytest.mark.parametrize("command", [["train_ti.py"], ["train_lora.py"], ["sample.py"], ["fid.py"], ["classify.py"],
                                     ["-m", "stablesdg.prior"], ["-m", "stablesdg.download"], ["-m", "stablesdg.steel"],
                                     ["-m", "stablesdg.split"], ["-m", "stablesdg.prepare"], ["tune.py"]])
def test_help_imports_nothing_heavy(command, tmp_path):
    code = ("import runpy, sys; sys.argv = ['x', '--help']\n"
            "try: runpy.{}({!r}, run_name='__main__')\nexcept SystemExit: pass\n"
            "assert 'torch' not in sys.modules and 'transformers' not in sys.modules")
    how = ("run_module", command[1]) if command[0] == "-m" else ("run_path", str(ROOT / command[0]))
    assert "example: python" in call(tmp_path, "-c", code.format(*how))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("method", [["train_ti.py"], ["train_lora.py"], ["train_lora.py", "--full"]])
def test_training_in_half_precision_follows_float32(place, tmp_path, dtype, method):
    """What is trained stays float32; the loss agrees with float32's to the digits that half precision has."""
    losses = {}
    for kind in ("float32", dtype):
        here(place, *method, "--data", "steel/patches", "--weights", "toy", *TRAINING[:-1], kind, "--iterations", "2",
             "--out", tmp_path / kind)
        stage = "ti" if method[0] == "train_ti.py" else method[-1].removeprefix("--").replace("train_lora.py", "lora")
        rows = csv.DictReader(open(tmp_path / kind / f"log-{stage}.csv"))
        losses[kind] = [float(row["loss"]) for row in rows if row["loss"]]
        trained = load_file(next((tmp_path / kind).glob("[elf]*.safetensors")))
        assert all(t.dtype == torch.float32 for t in trained.values())
    assert losses[dtype] == pytest.approx(losses["float32"], rel=0.02) and losses[dtype] != losses["float32"]
