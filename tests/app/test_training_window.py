"""A classifier reads new 12-bit images as it read those that it was trained on."""
import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from commands import here
from PIL import Image

from stablesdg.app.training_window import training_window
from stablesdg.data.window import FULL, Window, reading_by, window_for
from stablesdg.recognise import classifiers
from stablesdg.recognise.saved import save_classifier
from stablesdg.storage.files import write_json

WINDOW = Window(100, 4000, "measured")


def save_ramps(folder, window=None):
    """Two images of 1000 to 2000 gray levels in 16 bits, or as the window brings them to 8."""
    folder.mkdir(parents=True)
    for i in range(2):
        levels = np.linspace(1000, 2000 - 300 * i, 64 * 64).reshape(64, 64).astype(np.uint16)
        Image.fromarray(window.to_8_bits(levels) if window else levels).save(folder / f"{i}.png")


@pytest.fixture
def place(tmp_path):
    """A classifier of random weights in runs/set/classify, and the same images with 16 and with 8 bits."""
    torch.manual_seed(0)
    state = classifiers.build("squeezenet", 2).state_dict()
    save_classifier(tmp_path / "runs" / "set" / "classify" / "net.safetensors", state, "squeezenet", ["a", "b"])
    save_ramps(tmp_path / "new" / "a")
    save_ramps(tmp_path / "plain" / "a", WINDOW)
    return tmp_path


def predicted(place, folder, model="runs/set/classify/net.safetensors"):
    out = here(place, "classify.py", "--predict", folder, "--model", model, "--out", f"{place}/made.csv", "--device",
               "cpu")
    return list(csv.reader((place / "made.csv").open())), out


def test_a_flat_folder_of_12_bit_images_is_read_by_the_window_of_the_training(place):
    write_json(place / "runs" / "set" / "window.json", {"black": 100, "white": 4000, "why": "measured"})
    deep, out = predicted(place, "new/a")
    assert "2 of 2 images have 16-bit pixels: 100 becomes black and 4000 white, as of the images that" in out
    plain, out = predicted(place, "plain/a")
    assert deep == plain and "16-bit" not in out
    assert not (place / "runs" / "new").exists()  # no window of its own is measured
    out = here(place, "classify.py", "--evaluate", "new", "--model", "runs/set/classify/net.safetensors", "--device",
               "cpu")
    assert "100 becomes black" in out


def test_a_classifier_elsewhere_finds_the_window_by_the_data_that_its_result_names(place):
    write_json(place / "runs" / "set" / "window.json", {"black": 100, "white": 4000, "why": "measured"})
    elsewhere = place / "far" / "away"
    elsewhere.mkdir(parents=True)
    (place / "runs" / "set" / "classify" / "net.safetensors").rename(elsewhere / "net.safetensors")
    _, out = predicted(place, "new/a", elsewhere / "net.safetensors")
    assert "warning: 2 of 2 images have 16-bit pixels, and nothing says" in out and "of their own folder" in out
    write_json(elsewhere / "net.json", {"arguments": {"data": "set"}})
    _, out = predicted(place, "new/a", elsewhere / "net.safetensors")
    assert "100 becomes black and 4000 white" in out and "warning" not in out


def test_a_classifier_keeps_the_window_of_its_training_images(place):
    state = classifiers.build("squeezenet", 2).state_dict()
    save_classifier(place / "kept.safetensors", state, "squeezenet", ["a", "b"], window=WINDOW)
    _, out = predicted(place, "new/a", "kept.safetensors")
    assert "100 becomes black and 4000 white" in out and "(measured)" in out and "warning" not in out
    with reading_by(WINDOW):
        assert training_window([place / "new" / "a" / "0.png"]) == WINDOW
    assert training_window([place / "plain" / "a" / "0.png"]) is None


def test_a_given_window_holds_in_all_threads_and_ends_with_its_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with reading_by(WINDOW), ThreadPoolExecutor(1) as others:
        assert others.submit(window_for, tmp_path / "set" / "a" / "0.png", 60_000).result() == WINDOW
        assert window_for(tmp_path / "set" / "a" / "0.png", 60_000) == WINDOW
        with reading_by(None):
            assert window_for(tmp_path / "set" / "a" / "0.png", 60_000) == FULL
    assert window_for(tmp_path / "set" / "a" / "0.png", 60_000) == FULL
