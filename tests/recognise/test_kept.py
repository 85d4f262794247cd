"""What classify.py keeps: seeds that are finished, results under a name, and what a later call may replace."""
import csv
import dataclasses
import json

import pytest
import torch
from commands import here
from steel_place import make_generated, make_place  # noqa: F401 (fixtures)

import classify
from stablesdg.app import one_seed
from stablesdg.recognise import classifiers
from stablesdg.recognise.results import Result, SeedResult, Setup, earlier_seeds, save_result
from stablesdg.recognise.saved import save_classifier
from stablesdg.storage.errors import UserError


def test_a_call_of_three_seeds_can_be_finished_later_with_the_same_result(place, generated):
    base = ["classify.py", "--data", "steel", "--mode", "expand", "--alpha", "0.5", *generated, "--epochs", "1"]
    here(place, *base, "--seeds", "3", "--out", "whole")
    here(place, *base, "--seeds", "1", "--out", "parts")
    out = here(place, *base, "--seeds", "3", "--out", "parts", "--resume")
    assert "seed 0:" not in out and "seed 2:" in out
    name = "squeezenet-expand-0.5"
    whole, parts = (json.loads((place / folder / f"{name}.json").read_text()) for folder in ("whole", "parts"))
    assert all(whole[k] == parts[k] for k in whole if k != "arguments")
    weights = [(place / folder / f"{name}.safetensors").read_bytes() for folder in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert "other settings" in here(place, *base, "--out", "parts", "--resume", "--patience", "1", ok=False)


def test_a_training_that_is_stopped_says_which_seeds_are_kept(place, tmp_path, monkeypatch):
    base = ["--data", "steel", "--epochs", "1", "--seeds", "3", "--out", str(tmp_path / "out")]
    train, called = one_seed.train_network, []

    def stop_in_the_second(*args):
        called.append(1)
        if len(called) > 1:
            raise KeyboardInterrupt
        return train(*args)

    monkeypatch.setattr(one_seed, "train_network", stop_in_the_second)
    monkeypatch.chdir(place)
    with pytest.raises(KeyboardInterrupt, match="1 of 3 seeds are kept; the same command with --resume goes on"):
        classify.main(base)
    with pytest.raises(KeyboardInterrupt, match="1 of 3 seeds are kept"):  # the second again
        classify.main([*base, "--resume"])
    with pytest.raises(KeyboardInterrupt, match="no seed was finished"):
        classify.main([*base, "--replace"])
    monkeypatch.setattr(one_seed, "train_network", train)
    assert "seed 0:" not in here(place, "classify.py", *base, "--resume")


def test_seeds_of_another_arithmetic_or_other_pretrained_weights_are_not_mixed(place, tmp_path, monkeypatch):
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--pretrained", tmp_path / "w.safetensors", "--out",
            tmp_path / "out"]
    for k in range(2):
        weights = classifiers.build("squeezenet", 3).state_dict()
        save_classifier(tmp_path / "w.safetensors", weights, "squeezenet", ["a", "b", "c"])
        if k == 0:
            monkeypatch.setattr("stablesdg.app.experiment.pick_dtype", lambda name, device: torch.float32)
            here(place, *base)
    assert "(pretrained_sha256)" in here(place, *base, "--seeds", "2", "--resume", ok=False)
    monkeypatch.setattr("stablesdg.app.experiment.pick_dtype", lambda name, device: torch.bfloat16)
    error = here(place, *base, "--seeds", "2", "--resume", ok=False)
    assert "(dtype was float32 and is bfloat16; pretrained_sha256)" in error


def test_a_result_of_other_images_is_told_in_words(tmp_path):
    setup = Setup("squeezenet", "none", "none", 1.0, None, "group", ["a", "b"], False, None, "cpu", "float32",
                  ["a/1.png"], ["a/1.png"], "h" * 64, "i" * 64, {"epochs": 1})
    save_result(tmp_path, Result(setup).add(SeedResult(0, 1, 1, 1, 0, 1, 1.0, 1.0, [1], [[1, 0], [0, 0]]), 0, 0))
    with pytest.raises(UserError, match=r"settings or images \(the training or generated images\): pass --replace"):
        earlier_seeds(tmp_path, dataclasses.replace(setup, images_sha256="j" * 64), 1, resume=False, replace=False)


def test_a_result_under_a_name_of_its_own_stands_beside_the_others(place, generated):
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--mode", "expand", *generated, "--out", "named"]
    here(place, *base)
    out = here(place, *base, "--number", "3", "--name", "few")
    assert "few against expand" in out or "than expand" in out
    assert "images_sha256" not in out
    refused = here(place, *base, "--number", "5", ok=False)
    assert "(number was None and is 5): pass --replace" in refused and "--name NAME to keep both" in refused
    here(place, *base, "--number", "5", "--replace")
    rows = list(csv.DictReader(open(place / "named" / "results.csv")))
    assert [(row["name"], row["n_generated"]) for row in rows] == [("few", "9"), ("expand", "15")]


def test_a_finished_result_is_replaced_only_on_request(place, tmp_path):
    base = ["classify.py", "--data", "steel", "--out", tmp_path, "--epochs"]
    here(place, *base, "2", "--seeds", "2")
    file = tmp_path / "squeezenet-none-1.json"
    before = file.read_bytes()
    error = here(place, *base, "1", ok=False)
    assert "holds a result of 2 seeds and 2 epochs" in error and "epochs was 2 and is 1" in error
    assert "--replace" in error and "--name" in error and error.count("\n") == 1
    assert "more than --seeds 1: pass --replace" in here(place, *base, "2", "--seeds", "1", ok=False)
    assert file.read_bytes() == before
    here(place, *base, "1", "--name", "short")
    assert file.read_bytes() == before
    here(place, *base, "1", "--replace")
    assert len(json.loads(file.read_text())["rows"]) == 1
    assert "keeps what --replace throws away" in here(place, *base, "1", "--replace", "--resume", ok=False)


def test_the_same_images_by_another_path_are_no_other_setting(place, generated, tmp_path):
    base = ["--mode", "expand", "--epochs", "1", "--out", tmp_path / "out", "--data"]
    here(place, "classify.py", *base, "steel", *generated)
    out = here(place, "classify.py", *base, place / "steel", "--generated", place / "generated", "--split", "group",
               "--seeds", "2", "--resume")
    assert "seed 0:" not in out and "seed 1:" in out


def test_a_table_of_an_earlier_version_is_still_read_and_gets_the_new_columns(place, tmp_path):
    (tmp_path / "results.csv").write_text("network,name,alpha,per_class,split,arm,seed,test_accuracy\n"
                                          "vgg,none,1.0,,group,none,0,0.500000\n")
    here(place, "classify.py", "--data", "steel", "--epochs", "1", "--out", tmp_path)
    old, new = csv.DictReader(open(tmp_path / "results.csv"))
    assert list(new)[-2:] == ["balanced_accuracy", "macro_f1"] and 0 <= float(new["macro_f1"]) <= 1
    assert (old["network"], old["test_accuracy"], old["macro_f1"]) == ("vgg", "0.500000", "")


def test_arms_of_another_training_are_not_compared(place, generated):
    base = ["classify.py", "--data", "steel", "--out", "unlike", "--alpha", "0.5"]
    here(place, *base, "--mode", "none", "--epochs", "1")
    assert "against none" not in here(place, *base, "--mode", "synthetic", "--epochs", "2", *generated)
