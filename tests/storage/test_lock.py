"""Two runs never work in one folder. What a dead run leaves behind keeps nobody out."""
import os
import signal
import subprocess
import sys

import pytest
from commands import TRAINING, here
from conftest import ROOT

from stablesdg.storage.errors import UserError
from stablesdg.storage.lock import NAME, alone_at, alone_in

HOLD = ("import sys, time; from pathlib import Path; from stablesdg.storage.lock import alone_in\n"
        "with alone_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)")


def another_process(folder):
    """A process that holds the lock of a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_a_dead_one_keeps_nobody_out(tmp_path):
    folder = tmp_path / "runs" / "steel"
    other = another_process(folder)
    with pytest.raises(UserError, match=r"Another run is at work in .*steel: wait until it ends"), alone_in(folder):
        pass
    other.kill()
    other.wait()
    assert (folder / NAME).is_file()  # as SIGKILL and a power cut leave it
    with alone_in(folder):
        pass
    assert not (folder / NAME).exists()


def test_a_lock_leaves_nothing_behind_and_keeps_what_was_written(tmp_path):
    with alone_in(tmp_path / "a" / "b"):
        pass
    with pytest.raises(ZeroDivisionError), alone_at(tmp_path / "c" / "d"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with alone_in(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_what_a_killed_run_was_writing_goes_when_the_next_one_begins(tmp_path):
    for name in (".unfinished-lora-abc.safetensors", ".tmpAb12Cd", ".unfinished-young.png", "lora.safetensors"):
        (tmp_path / name).touch()
    for name in (".unfinished-lora-abc.safetensors", ".tmpAb12Cd"):  # the second as safetensors names it
        os.utime(tmp_path / name, (1e9, 1e9))
    with alone_in(tmp_path):
        assert {file.name for file in tmp_path.iterdir()} == {NAME, ".unfinished-young.png", "lora.safetensors"}


def test_a_folder_that_is_replaced_as_a_whole_has_its_lock_beside_it(tmp_path):
    with alone_at(tmp_path / "out"):
        assert not (tmp_path / "out").exists()
        with pytest.raises(UserError, match="Another run is at work in .*out"), alone_at(tmp_path / "out"):
            pass
        with alone_at(tmp_path / "other"), alone_in(tmp_path / "inside"):
            pass


def test_a_lock_whose_file_was_removed_by_its_owner_is_taken_again(tmp_path, monkeypatch):
    """Between opening and locking the file, the other run ends and removes it."""
    from stablesdg.storage import lock

    held = lock._lock

    def end_of_the_other(handle):
        monkeypatch.setattr(lock, "_lock", held)
        (tmp_path / NAME).unlink()
        held(handle)

    monkeypatch.setattr(lock, "_lock", end_of_the_other)
    with alone_in(tmp_path), pytest.raises(UserError), alone_in(tmp_path):
        pass


@pytest.mark.parametrize("folder, command", [
    ("runs/steel/patches", ["train_ti.py", "--data", "steel/patches"]),
    ("runs/steel/patches", ["train_lora.py", "--data", "steel/patches"]),
    ("runs/steel/patches", ["sample.py", "--run", "runs/steel/patches"]),
    ("runs/steel/patches", ["sample.py", "--run", "runs/steel/patches", "--out", "elsewhere/made"]),
    ("runs/steel/patches", ["tune.py", "--run", "runs/steel/patches"]),
    ("runs/steel/classify", ["classify.py", "--data", "steel"]),
    ("runs/steel", ["expand.py", "--data", "steel", "--weights", "toy", "--device", "cpu"]),
    ("runs/steel/rivals/dcgan/patches", ["-m", "stablesdg.rivals", "dcgan", "--data", "steel/patches"]),
    ("runs/pretrain", ["-m", "stablesdg.prior", "--out", "prior"])], ids=lambda value: str(value[0])[:12])
def test_every_command_that_writes_into_a_run_folder_refuses_a_second_one(place, folder, command):
    if command[0] == "-m":
        command = ["-m", f"{command[1]}.__main__", *command[2:]]
    before = sorted(place.rglob("*"))
    with alone_in(place / folder):
        error = here(place, *command, ok=False)
    assert error.count("\n") == 1 and "Another run is at work in" in error and folder in error
    assert sorted(place.rglob("*")) == before


def test_two_images_folders_of_two_runs_are_not_one(place):
    with alone_at(place / "made"):
        error = here(place, "sample.py", "--run", "runs/steel/patches", "--out", "./made", ok=False)
    assert "Another run is at work in" in error and not (place / "made").exists()


def test_commands_that_only_read_take_no_lock(place):
    """That expand.py does not lock its own stages out, the tests of expand.py show."""
    here(place, "classify.py", "--data", "steel", "--network", "nano", "--device", "cpu")
    with alone_in(place / "runs" / "steel"), alone_in(place / "runs" / "steel" / "classify"):
        here(place, "expand.py", "--data", "steel", "--weights", "toy", "--dry-run", "--device", "cpu")
        here(place, "classify.py", "--verdicts", "--data", "steel")
        here(place, "classify.py", "--predict", "steel/pits", "--out", "said.csv", "--model",
             "runs/steel/classify/nano-none-1.safetensors", "--device", "cpu")
        here(place, "fid.py", "steel/pits", "steel/patches", "--features", "nano", "--device", "cpu")
        here(place, "-m", "stablesdg.report.__main__", "runs/steel")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_training_does_not_block_the_next_one(place, tmp_path):
    base = ["train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--no-preview", "--out", tmp_path]
    other = another_process(tmp_path)
    assert "Another run" in here(place, *base, ok=False)
    other.send_signal(signal.SIGKILL)
    other.wait()
    here(place, *base, "--resume")
    assert (tmp_path / "embedding.safetensors").is_file() and not (tmp_path / NAME).exists()
