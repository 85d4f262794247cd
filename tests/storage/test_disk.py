"""A full disk, no rights, a folder that vanishes, a clock that jumps: one sentence, and what was there stays whole."""
import os
import shutil
import time

import pytest
from commands import FLOAT32, TRAINING, here

from stablesdg import train
from stablesdg.storage.lock import alone_in
from stablesdg.storage.tensors import load_tensors, save_tensors

resource = pytest.importorskip("resource")
BASE = ["--weights", "toy", *TRAINING, "--no-preview"]


@pytest.fixture
def largest(monkeypatch):
    """Limit the size of a file, which fails as a full disk does: in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def whole(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_training_on_a_full_disk_says_so_and_the_former_adapter_stays(place, tmp_path, largest):
    here(place, "train_lora.py", "--data", "steel/pits", *BASE, "--out", tmp_path)
    before = whole(tmp_path)
    largest(2000)
    error = here(place, "train_lora.py", "--data", "steel/pits", *BASE, "--out", tmp_path, "--lr", "0.1", ok=False)
    assert "too large" in error and "What was finished before is kept" in error and "Traceback" not in error
    assert error.strip().count("\n") == 0 and whole(tmp_path) == before


def test_sampling_on_a_full_disk_keeps_the_former_images_and_goes_on_when_there_is_room(place, tmp_path, largest):
    run = shutil.copytree(place / "runs" / "steel" / "patches", tmp_path / "run")
    command = ["sample.py", "--run", run, "--strength", "0.4", "--steps", "5", "--guidance", "2", "--number", "3",
               "--batch-size", "1", *FLOAT32]
    before = whole(run / "samples")
    largest(3000)
    error = here(place, *command, "--seed", "1", ok=False)
    assert "too large" in error and error.strip().count("\n") == 0 and whole(run / "samples") == before
    largest(resource.RLIM_INFINITY)
    here(place, *command, "--seed", "1", "--resume")
    assert whole(run / "samples") != before and len(list((run / "samples").glob("*.png"))) == 3


def test_a_full_disk_is_told_with_what_to_do(tmp_path, monkeypatch, capsys):
    from stablesdg.app.command_line import run_main

    def fill(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(SystemExit):
        run_main(lambda: save_tensors(tmp_path / "a.safetensors", {"a": train.torch.ones(2)}))
    error = capsys.readouterr().err
    assert "No space left on device: free some space, and type the command again" in error
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_cannot_be_made_is_said_before_anything_is_trained(place, tmp_path):
    (tmp_path / "file").touch()
    error = here(place, "train_ti.py", "--data", "steel/pits", *BASE, "--out", tmp_path / "file" / "run", ok=False)
    assert error.startswith("error: ") and error.strip().count("\n") == 0 and "file" in error


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_said(place, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    error = here(place, "train_ti.py", "--data", "steel/pits", *BASE, "--out", tmp_path / "run", ok=False)
    assert "ask for the right to this file, or take another folder" in error and not whole(tmp_path)


def test_a_run_folder_that_vanishes_during_a_training_is_made_again(place, tmp_path, monkeypatch):
    loss, calls = train.denoising_loss, []

    def vanish(*arguments):
        calls.append(1)
        if len(calls) == 10:
            shutil.rmtree(tmp_path / "run")
        return loss(*arguments)

    monkeypatch.setattr(train, "denoising_loss", vanish)
    here(place, "train_ti.py", "--data", "steel/pits", *BASE, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "run.json").is_file() and load_tensors(tmp_path / "run" / "embedding.safetensors")[0]


def test_images_that_vanish_during_a_sampling_are_said_and_the_former_ones_stay(place, tmp_path, monkeypatch):
    from stablesdg.app import sampling

    data = shutil.copytree(place / "steel" / "patches", tmp_path / "steel" / "patches")
    run = shutil.copytree(place / "runs" / "steel" / "patches", tmp_path / "run")
    before, make = whole(run / "samples"), sampling.make_batch

    def vanish(*arguments):
        shutil.rmtree(data, ignore_errors=True)
        return make(*arguments)

    monkeypatch.setattr(sampling, "make_batch", vanish)
    error = here(place, "sample.py", "--run", run, "--data", data, "--strength", "0.4", "--steps", "5", "--guidance",
                 "2", "--number", "5", "--batch-size", "1", "--seed", "1", *FLOAT32, ok=False)
    assert "cannot be read as an image" in error and whole(run / "samples") == before


def test_a_clock_that_jumps_back_changes_no_result_and_removes_nothing(place, tmp_path, monkeypatch):
    here(place, "train_ti.py", "--data", "steel/pits", *BASE, "--out", tmp_path / "a")
    ticks = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: next(ticks))
    here(place, "train_ti.py", "--data", "steel/pits", *BASE, "--out", tmp_path / "b")
    assert (tmp_path / "a" / "embedding.safetensors").read_bytes() == (
        tmp_path / "b" / "embedding.safetensors").read_bytes()
    unfinished = tmp_path / "a" / ".unfinished-x.png"
    unfinished.touch()
    with alone_in(tmp_path / "a"):
        assert unfinished.is_file()
