"""What is stopped half-way keeps what it has, says so, and goes on with the same bytes."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from commands import FLOAT32, TRAINING, here
from conftest import ROOT
from safetensors.torch import load_file, save_file

from stablesdg import train
from stablesdg.app.command_line import run_main
from stablesdg.storage.checkpoint import Checkpoint


def test_an_interrupted_sampling_resumes_and_refuses_other_settings(place):
    run = ["--run", "runs/steel/patches", "--steps", "5", "--guidance", "2", "--number", "3", "--out", "./again",
           "--batch-size", "2", *FLOAT32]
    here(place, "sample.py", "--strength", "0.4", *run)
    (place / "again").rename(place / "again.partial")
    first = (place / "again.partial" / "00000.png").read_bytes()
    (place / "again.partial" / "00002.png").unlink()
    error = here(place, "sample.py", "--strength", "0.6", *run, "--resume", ok=False)
    assert "other settings (s was 0.4 and is 0.6)" in error
    settings = place / "again.partial" / "settings.json"
    before = settings.read_text()
    settings.write_text(json.dumps({**json.loads(before), "s_high": 0.6}))
    error = here(place, "sample.py", "--strength", "0.4", *run, "--resume", ok=False)
    assert "other settings (s_high was 0.6 and is None)" in error
    settings.write_text(before)
    here(place, "sample.py", "--strength", "0.4", *run, "--resume")
    assert len(list((place / "again").glob("*.png"))) == 3 and (place / "again" / "00000.png").read_bytes() == first
    assert "already finished" in here(place, "sample.py", "--strength", "0.4", *run, "--resume")
    assert "will be replaced" in here(place, "sample.py", "--strength", "0.6", *run, "--resume")


@pytest.mark.parametrize("script, stage, extra", [
    ("train_ti.py", "ti", []), ("train_lora.py", "lora", ["--gradient-checkpointing"]),
    ("train_lora.py", "full", ["--full"])])
def test_a_resumed_training_ends_with_the_same_bytes(place, tmp_path, monkeypatch, script, stage, extra):
    """Interrupted after a checkpoint and resumed, against never stopped."""
    base = [script, "--data", "steel/patches", "--weights", "toy", *TRAINING, "--no-preview", *extra]
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
@pytest.mark.parametrize("command, line, file, told", [
    (["train_lora.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--iterations", "99999"], "training",
     "steel", "saved after"),
    (["sample.py", "--run", "runs/steel/patches", "--strength", "0.4", "--steps", "5", "--guidance", "2", "--number",
      "9999", "--batch-size", "1", "--out", "many", *FLOAT32], "prompt", "runs/steel/patches/many.partial/00002.png",
     "of 9999 images are kept; the same command with --resume goes on"),
    (["classify.py", "--data", "steel", "--mode", "none", "--epochs", "1", "--seeds", "99", *FLOAT32], "seed 1:",
     "steel", "of 99 seeds are kept")], ids=["training", "sampling", "classifying"])
def test_sigterm_stops_a_process_as_ctrl_c_does_and_its_exit_code_is_143(place, command, line, file, told):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, ROOT / command[0], *command[1:]], cwd=place, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    printed = []
    for said in process.stdout:
        printed.append(said)
        if line in said and not said.startswith(command[0]):  # the first line names the command
            break
    while process.poll() is None and not (place / file).exists():
        time.sleep(0.1)
    time.sleep(1)
    process.terminate()
    _, error = process.communicate(timeout=120)
    assert process.returncode == 143 and "Traceback" not in error, "".join(printed) + error
    assert error.splitlines()[-1].startswith("stopped: ") and told in error


def test_the_exit_code_says_which_signal_stopped_a_command_and_the_handlers_of_before_come_back(capsys):
    shell = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in the background without
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with pytest.raises(SystemExit) as stopped:
            run_main(lambda: signal.raise_signal(number))
        assert stopped.value.code == code and capsys.readouterr().err == "\nstopped\n"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    signal.signal(signal.SIGINT, shell)


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
        patch.setattr("stablesdg.app.preview.generate", stop)
        error = here(place, *base, ok=False)
    assert "the ti stage is finished and recorded" in error and not (tmp_path / "preview-ti.png").exists()
    assert "ti" in json.loads((tmp_path / "run.json").read_text())["stages"]
    assert not (tmp_path / "checkpoint-ti.safetensors").exists()
    assert "drawing" not in here(place, *base, "--no-preview") and not (tmp_path / "preview-ti.png").exists()
    assert "drawing" not in here(place, *base, "--no-preview", "--resume")
    assert "drawing preview-ti.png" in here(place, *base) and (tmp_path / "preview-ti.png").is_file()


@pytest.mark.parametrize("script, stage", [("train_ti.py", "ti"), ("train_lora.py", "lora")])
def test_resume_draws_a_preview_that_a_killed_training_left_out_as_it_would_have_been(place, script, stage):
    base = [script, "--data", "steel/patches", *TRAINING, "--resume", "--weights", "toy"]
    preview = place / "runs" / "steel" / "patches" / f"preview-{stage}.png"
    drawn = preview.read_bytes()
    preview.unlink()
    out = here(place, *base, *(["--rank", "1"] if stage == "lora" else []))
    assert "already finished" in out and f"drawing preview-{stage}.png" in out and preview.read_bytes() == drawn
    assert "drawing" not in here(place, *base, *(["--rank", "1"] if stage == "lora" else []))


def test_resuming_on_other_images_is_refused(place, tmp_path, monkeypatch):
    save = Checkpoint.save

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    base = ["train_ti.py", "--weights", "toy", *TRAINING, "--out", tmp_path / "run"]
    here(place, *base, "--data", "steel/pits", ok=False)
    assert "other settings (images)" in here(place, *base, "--data", "steel/scratches", "--resume", ok=False)


def test_adapters_of_weights_that_have_changed_are_refused(place, tmp_path):
    shutil.copytree(place / "toy", tmp_path / "toy")
    base = ["--data", place / "steel" / "pits", "--weights", tmp_path / "toy", *TRAINING, "--no-preview", "--out",
            tmp_path / "run"]
    here(place, "train_ti.py", *base)
    file = tmp_path / "toy" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "conv_out.bias": tensors["conv_out.bias"] + 1}, file)
    assert f"{tmp_path / 'toy'} held other weights" in here(place, "train_ti.py", *base, "--resume", ok=False)
    assert "was learned on other weights than" in here(place, "train_lora.py", *base, ok=False)


def test_a_finished_training_is_not_taken_for_one_of_other_images(place, tmp_path):
    shutil.copytree(place / "steel" / "pits", tmp_path / "steel" / "pits")
    base = ["train_ti.py", "--data", "steel/pits", "--weights", place / "toy", *TRAINING, "--no-preview"]
    here(tmp_path, *base)
    assert "already finished" in here(tmp_path, *base, "--resume")
    split = json.loads((tmp_path / "runs" / "steel" / "split.json").read_text())["files"]
    one = next(name for name, entry in split.items() if entry["part"] == "train")
    (tmp_path / "steel" / one).unlink()
    here(tmp_path, "-m", "stablesdg.split", "steel", "--forget")
    assert "the training images were others" in here(tmp_path, *base, "--resume", ok=False)
