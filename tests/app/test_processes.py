"""One command in many processes of torchrun: the same adapters, images and scores, and one end for all."""
import csv
import json
import os
import sys

import pytest
import torch
from commands import FLOAT32, here, torchrun
from safetensors.torch import load_file

from stablesdg.app import devices, processes
from stablesdg.storage.errors import UserError
from stablesdg.storage.tensors import read_metadata

BATCH = 5  # images of a training step: no multiple of MANY
MANY = 3  # processes
TRAINING = ["--data", "steel/patches", "--weights", "toy", "--iterations", "4", "--batch-size", str(BATCH),
            "--resolution", "32", "--no-preview", *FLOAT32]
SAMPLING = ["--run", "runs/steel/patches", "--strength", "0.4", "--number", "7", "--steps", "5", "--guidance", "2",
            "--batch-size", "2", *FLOAT32]


def stages(n):
    """The commands of one edition. The last one looks for features in a cache of its own."""
    classifying = ["classify.py", "--data", "steel", "--epochs", "1", "--seeds", "3", "--side", "64", "--out",
                   f"tests-{n}", *FLOAT32]
    return [["train_ti.py", *TRAINING, "--out", f"trained-{n}"], ["train_lora.py", *TRAINING, "--out", f"trained-{n}"],
            ["sample.py", *SAMPLING, "--out", f"./images-{n}"], classifying,
            ["fid.py", "steel/patches", "images-1", "--features", "nano", "--batch-size", "3", "--device", "cpu",
             "--json", f"fid-{n}.json", "--runs", f"cache-{n}"]]


@pytest.fixture(scope="module")
def editions(place):
    """The stages by one process and by three. Returns (place, {number of processes: what they printed})."""
    runs = os.environ.get("STABLESDG_RUNS")
    said = {1: "".join(here(place, *command) for command in stages(1))}
    os.environ.pop("STABLESDG_RUNS") if runs is None else os.environ.update(STABLESDG_RUNS=runs)  # --runs has set it
    return place, said | {MANY: torchrun(place, MANY, stages(MANY))}


@pytest.mark.parametrize("name", ["embedding", "lora"])
def test_a_training_by_many_processes_equals_one_process_with_the_same_batch(editions, name):
    place, _ = editions
    one, many = (load_file(place / f"trained-{k}" / f"{name}.safetensors") for k in (1, MANY))
    assert one.keys() == many.keys()
    for key in one:
        torch.testing.assert_close(many[key], one[key], rtol=1e-4, atol=1e-4)


def test_the_loss_that_is_logged_is_that_of_the_whole_batch(editions):
    place, _ = editions
    stage = {"ti": "log-ti.csv", "lora": "log-lora.csv"}
    for file in stage.values():
        one, many = (list(csv.DictReader(open(place / f"trained-{k}" / file))) for k in (1, MANY))
        assert [row["iteration"] for row in one] == [row["iteration"] for row in many]
        for a, b in zip(one[1:], many[1:]):
            assert float(a["loss"]) == pytest.approx(float(b["loss"]), abs=2e-5)


def test_images_do_not_depend_on_the_number_of_processes(editions):
    place, _ = editions
    names = sorted(file.name for file in (place / "images-1").iterdir())
    assert len(names) == 9 and names == sorted(file.name for file in (place / f"images-{MANY}").iterdir())
    for name in names:
        assert (place / "images-1" / name).read_bytes() == (place / f"images-{MANY}" / name).read_bytes(), name


def test_scores_do_not_depend_on_the_number_of_processes(editions):
    place, _ = editions
    assert json.loads((place / "fid-1.json").read_text()) == json.loads((place / f"fid-{MANY}.json").read_text())
    caches = [{file.name: file.read_bytes() for file in (place / f"cache-{k}").rglob("*.npy")} for k in (1, MANY)]
    assert caches[0] == caches[1] and len(caches[0]) == 19  # 12 real images, 7 generated ones


def test_classifiers_do_not_depend_on_the_number_of_processes(editions):
    place, _ = editions
    files = [file.name for file in (place / "tests-1").iterdir()]
    assert "squeezenet-none-1.safetensors" in files
    for name in files:
        one, many = ((place / f"tests-{k}" / name).read_bytes() for k in (1, MANY))
        assert one == many.replace(f"tests-{MANY}".encode(), b"tests-1"), name  # a result names its folder


def test_only_the_first_process_speaks(editions):
    _, said = editions
    for line in ("train_lora.py: ", "iteration 4 of 4", "wrote 7 images", "image 7 of 7", "FD-nano, not comparable"):
        assert said[1].count(line) == said[MANY].count(line) > 0, line


def test_one_process_that_dies_ends_all_and_another_number_of_processes_goes_on(place):
    base = ["train_lora.py", *TRAINING]
    error = torchrun(place, 2, [["die", 1], [*base, "--out", "died"]], ok=False)
    assert "exitcode  : 9" in error
    assert not (place / "died" / "lora.safetensors").exists() and not (place / "died" / "run.json").exists()
    assert len(json.loads(read_metadata(place / "died" / "checkpoint-lora.safetensors")["record"])["losses"]) == 2
    assert "resuming after 2 iterations" in here(place, *base, "--out", "died", "--resume")
    here(place, *base, "--out", "lived")
    one, many = (load_file(place / name / "lora.safetensors") for name in ("lived", "died"))
    for key in one:
        torch.testing.assert_close(many[key], one[key], rtol=1e-4, atol=1e-4)


def test_the_first_process_alone_draws_a_preview_that_a_kill_left_out(place):
    command = ["train_ti.py", "--data", "steel/patches", "--weights", "toy", "--iterations", "2", "--resolution", "32",
               "--device", "cpu", "--out", "previewed"]
    here(place, *command)
    preview = place / "previewed" / "preview-ti.png"
    before = preview.read_bytes()
    preview.unlink()
    torchrun(place, 2, [[*command, "--resume"]])
    assert preview.read_bytes() == before
    stage = json.loads((place / "previewed" / "run.json").read_text())["stages"]["ti"]
    assert sys.platform == "win32" or stage["peak_memory"] > 2**20


@pytest.fixture
def second_of_three(monkeypatch):
    """This process believes that torchrun has started it, but it meets no others."""
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_each_image_of_a_batch_belongs_to_one_process_and_too_many_processes_are_refused(second_of_three, monkeypatch):
    for batch_size in (3, 4, 5, 16):
        taken = []
        for rank in range(3):
            monkeypatch.setenv("RANK", str(rank))
            taken += range(batch_size)[processes.own_part(batch_size)]
        assert taken == list(range(batch_size))
    with pytest.raises(UserError, match="3 processes cannot share a batch of 2: start at most so many"):
        processes.own_part(2)


def test_gradients_are_sent_in_few_messages_in_their_order(monkeypatch):
    monkeypatch.setattr(processes, "MOST_VALUES", 10)
    sizes = [[len(tensor) for tensor in bucket] for bucket in processes.buckets(map(torch.zeros, [1, 4, 5, 1, 30, 2]))]
    assert sizes == [[1, 4, 5], [1], [30], [2]]


def test_commands_that_share_nothing_out_and_one_gpu_for_all_are_refused(second_of_three, place):
    error = here(place, "-m", "stablesdg.split", "steel", ok=False)
    assert error.startswith("error (process 1): This command works in one process: type python")
    with pytest.raises(UserError, match="--device cuda:0 names one GPU, and 3 processes need one each"):
        devices.pick_device("cuda:0")
