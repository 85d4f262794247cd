"""classify.py: what its arms train on, what it refuses, and what can be done with a trained classifier."""
import csv
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
import torchvision
from commands import here
from PIL import Image

import classify
from stablesdg.app import classification
from stablesdg.app.commands import steel as steel_command
from stablesdg.recognise import arms, classifiers, verdicts
from stablesdg.recognise.results import from_json, read_results
from stablesdg.storage.files import write_json


@pytest.fixture(scope="module")
def place(tmp_path_factory, steel):
    """A working directory with images in steel/."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(steel, place / "steel")
    return place


@pytest.fixture(scope="module")
def generated(place, tmp_path_factory):
    """Folders of class folders as sample.py leaves them: twelve images each, and as many copies."""
    other = tmp_path_factory.mktemp("other") / "steel"
    steel_command.main([str(other), "--number", "12", "--seed", "1"])
    for name in ("patches", "pits", "scratches"):
        for samples in ("samples", "copies"):
            shutil.copytree(other / name, place / "generated" / name / samples)
    return ["--generated", "generated"]


@pytest.mark.parametrize("arm, real, other", [
    ("none", 30, 0), ("substitute", 15, 15), ("expand", 15, 36), ("synthetic", 0, 36), ("steps", 15, 36),
    ("copies", 15, 36), ("classic", 15, 36)])
def test_every_arm_trains_on_the_images_that_it_should(place, generated, arm, real, other):
    how = "--control" if arm in ("steps", "copies", "classic") else "--mode"
    more = ["--alpha", "1"] if arm == "none" else ["--alpha", "0.5", *generated]
    out = here(place, "classify.py", "--data", "steel", how, arm, "--epochs", "1", "--out", f"arms/{arm}", *more)
    assert f"training on {real} real and {other} other images, 1 epochs" in out and "by class: patches" in out
    row, = csv.DictReader(open(place / "arms" / arm / "results.csv"))
    assert (row["arm"], row["n_real"], row["n_generated"]) == (arm, str(real), str(other))
    assert 0 <= float(row["test_accuracy"]) <= 1


def test_the_control_steps_adds_each_real_image_as_often_as_any_other():
    again = [arms.see_again(list("abcde"), number, 0) for number in (3, 5, 12)]
    assert [sorted(Counter(files).values()) for files in again] == [[1, 1, 1], [1] * 5, [2, 2, 2, 3, 3]]


def test_two_arms_are_compared_on_the_same_images_and_a_classifier_can_be_used(place, generated):
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--seeds", "2", "--alpha", "0.5", "--out", "pair"]
    here(place, *base, "--mode", "none")
    out = here(place, *base, "--mode", "expand", *generated)
    assert "expand against none: no difference can be told" in out or "than none" in out
    again = here(place, *base, "--mode", "expand", *generated)  # replaces its rows rather than adding to them
    rows = list(csv.DictReader(open(place / "pair" / "results.csv")))
    assert [(row["arm"], row["seed"]) for row in rows] == [("none", "0"), ("none", "1"), ("expand", "0"),
                                                           ("expand", "1")]
    assert again.splitlines()[-2] == out.splitlines()[-2]  # the same seeds, the same verdict
    written = {file.name for file in (place / "pair").iterdir()}
    assert {"squeezenet-expand-0.5.json", "confusion-squeezenet-expand-0.5.png",
            "confusion-squeezenet-expand-0.5.csv"} <= written
    here(place, "classify.py", "--predict", "steel/pits", "--model", "pair/squeezenet-expand-0.5.safetensors", "--out",
         "p.csv")
    predictions = list(csv.DictReader(open(place / "p.csv")))
    assert len(predictions) == 12 and {row["class"] for row in predictions} <= {"patches", "pits", "scratches"}
    for row in predictions:
        assert sum(float(row[c]) for c in ("patches", "pits", "scratches")) == pytest.approx(1, abs=1e-5)


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
    train, called = classification.train_network, []

    def stop_in_the_second(*args):
        called.append(1)
        if len(called) > 1:
            raise KeyboardInterrupt
        return train(*args)

    monkeypatch.setattr(classification, "train_network", stop_in_the_second)
    monkeypatch.chdir(place)
    with pytest.raises(KeyboardInterrupt, match="1 of 3 seeds are kept; the same command with --resume goes on"):
        classify.main(base)
    with pytest.raises(KeyboardInterrupt, match="1 of 3 seeds are kept"):  # the second again
        classify.main([*base, "--resume"])
    with pytest.raises(KeyboardInterrupt, match="no seed was finished"):
        classify.main([*base, "--replace"])
    monkeypatch.setattr(classification, "train_network", train)
    assert "seed 0:" not in here(place, "classify.py", *base, "--resume")


def test_seeds_of_another_arithmetic_or_other_pretrained_weights_are_not_mixed(place, tmp_path, monkeypatch):
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--pretrained", tmp_path / "w.safetensors", "--out",
            tmp_path / "out"]
    for k in range(2):
        weights = classifiers.build("squeezenet", 3).state_dict()
        classifiers.save(tmp_path / "w.safetensors", weights, "squeezenet", ["a", "b", "c"])
        if k == 0:
            monkeypatch.setattr("stablesdg.app.classification.pick_dtype", lambda name, device: torch.float32)
            here(place, *base)
    assert "(pretrained_sha256)" in here(place, *base, "--seeds", "2", "--resume", ok=False)
    monkeypatch.setattr("stablesdg.app.classification.pick_dtype", lambda name, device: torch.bfloat16)
    error = here(place, *base, "--seeds", "2", "--resume", ok=False)
    assert "(dtype was float32 and is bfloat16; pretrained_sha256)" in error


@pytest.mark.parametrize("words, said", [
    (["--number", "3"], "no effect on --mode none"),
    (["--mode", "substitute", "--alpha", "0.5", "--number", "3"], "no effect on --mode substitute"),
    (["--per-class", "3", "--alpha", "0.5"], "pass one of them"),
    (["--pretrained", "nowhere.pth"], "There is no nowhere.pth"),
    (["--mode", "substitute", "--per-class", "99"], "nothing to substitute")])
def test_arguments_that_would_do_nothing_are_refused(place, generated, words, said):
    more = generated if "substitute" in words else []
    assert said in here(place, "classify.py", "--data", "steel", *words, *more, "--out", "refused", ok=False)


def test_one_class_is_nothing_to_classify(place, tmp_path):
    shutil.copytree(place / "steel" / "pits", tmp_path / "steel" / "pits")
    assert "one class folder only, pits" in here(tmp_path, "classify.py", "--data", "steel", ok=False)


def test_classifying_refuses_images_generated_from_test_images(place, tmp_path):
    for name in ("patches", "pits", "scratches"):
        shutil.copytree(place / "steel" / name, tmp_path / "generated" / name)
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    test = next(name for name, entry in split.items() if entry["part"] == "test" and name.startswith("patches"))
    (tmp_path / "generated" / "patches" / "manifest.csv").write_text(f"file,source\n000.png,{test}\n")
    error = here(place, "classify.py", "--data", "steel", "--mode", "expand", "--generated", tmp_path / "generated",
                 ok=False)
    assert test in error and "test part" in error


def test_classifying_refuses_to_train_on_the_images_it_is_tested_with(place):
    error = here(place, "classify.py", "--data", "steel", "--mode", "expand", "--generated", "steel", ok=False)
    assert "must not train on what it is tested with" in error


def test_a_verdict_says_what_else_an_arm_had(place, generated, tmp_path):
    """Its generator saw real images that the other arm did not, and it took more optimiser steps."""
    shutil.copytree(place / "generated", tmp_path / "generated")
    split = json.loads((place / "runs" / "steel" / "split.json").read_text())["files"]
    seen = [entry["sha256"] for name, entry in split.items() if entry["part"] == "train" and name.startswith("pits")]
    (tmp_path / "generated" / "pits" / "samples" / "settings.json").write_text(json.dumps({"seen": seen}))
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--alpha", "0.5", "--out", tmp_path / "out"]
    here(place, *base, "--mode", "none")
    out = here(place, *base, "--mode", "expand", "--generated", tmp_path / "generated")
    assert "expand has seen 5 real images that none has not" in out
    assert "expand took 2.0 times as many optimiser steps" in out
    result = json.loads((tmp_path / "out" / "squeezenet-expand-0.5.json").read_text())
    verdict, = verdicts.verdicts(verdicts.find_family(from_json(result), read_results(tmp_path / "out")))
    assert "Nothing tells whether what made the images of expand" in out and "patches do not say what made them" in out
    assert verdict.against == "none" and verdict.sentence in out and "verdicts" not in result
    assert 0 <= result["summary"]["by_class"]["pits"] <= 1
    out = here(place, *base, "--control", "steps", "--generated", tmp_path / "generated")
    assert "took" not in out and "steps has seen" not in out
    assert "expand has seen 5 real images that steps has not" in out


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


@pytest.mark.parametrize("arm", ["steps", "classic"])
def test_a_control_that_only_counts_takes_a_number_in_the_place_of_generated_images(place, generated, arm):
    base = ["classify.py", "--data", "steel", "--control", arm, "--epochs", "1", "--number", "5", "--out"]
    assert "on 30 real and 15 other images" in here(place, *base, f"counted/{arm}")
    here(place, *base, f"seen/{arm}", *generated)
    results = [read_results(place / folder / arm)[0] for folder in ("counted", "seen")]
    assert results[0].seeds == results[1].seeds and results[0].n_extra == results[1].n_extra == 15
    assert "--number N" in here(place, *base[:-3], ok=False)


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


def test_classes_whose_images_were_not_made_alike_are_named_with_what_differs(place, generated, tmp_path):
    """s and w are tuned for each class; what else differs can be learned in the place of the class."""
    shutil.copytree(place / "generated", tmp_path / "generated")
    settings = {"resolution": 64, "sampler": "ddim", "steps": 50, "adapters": "all", "weights": "a" * 64, "s": 0.4,
                "w": 3, "dtype": "torch.float32", "adapter_files": ["b" * 64, "c" * 64], "from_noise": False,
                "classic": False}
    for name, own in (("patches", {}), ("pits", {"s": 0.2, "w": 1}), ("scratches", {"s": 0.6})):
        write_json(tmp_path / "generated" / name / "samples" / "settings.json", settings | own)
    base = ["classify.py", "--data", "steel", "--epochs", "1", "--generated", tmp_path / "generated", "--out"]
    assert "not made alike" not in here(place, *base, tmp_path / "alike", "--mode", "expand")
    blurred = settings | {"resolution": 32, "adapter_files": ["b" * 64]}
    write_json(tmp_path / "generated" / "pits" / "samples" / "settings.json", blurred)
    write_json(tmp_path / "generated" / "scratches" / "samples" / "settings.json", settings | {"s": 0})
    out = here(place, *base, tmp_path / "unlike", "--mode", "expand")
    assert "warning: the generated images of the classes were not made alike" in out
    assert "resolution 64 for patches and scratches, 32 for pits" in out
    assert "adapter files 2 for patches and scratches, 1 for pits" in out
    assert "a round trip without noise (s = 0) for scratches" in out and "sampler" not in out
    assert "not made alike" not in here(place, *base, tmp_path / "counted", "--control", "steps")


def test_a_class_of_which_nothing_is_written_down_is_named_beside_others_that_say_it():
    known = {"sampler": "ddim", "s": 0.4}
    assert arms.unlike_settings(["a", "b"], [known, {}]) == ["settings.json there for a, missing for b"]
    assert arms.unlike_settings(["a", "b"], [{}, {}]) == arms.unlike_settings(["a", "b"], [known, known]) == []
    method, = arms.unlike_settings(["a", "b"], [known, {"classic": True}])
    assert method == "method from images for a, rotation and mirroring for b"


def test_a_log_file_holds_no_progress_bars(place, capsys):
    x, y = torch.zeros(4, 3, 200, 200, dtype=torch.uint8), torch.arange(4) % 2
    model = classifiers.build("squeezenet", 2)
    classifiers.train(model, x, y, x, y, epochs=1, seed=0, device="cpu")
    classifiers.predict_files(model, sorted((place / "steel" / "pits").iterdir())[:2], "cpu")
    assert capsys.readouterr() == ("", "")


def test_overlapping_test_images_of_a_random_split_are_one_surface(tmp_path):
    large = np.random.default_rng(0).integers(0, 255, (3, 96, 96), dtype=np.uint8)
    crops = [large[0, :64, :64], large[0, 16:80, 16:80], large[1, :64, :64], large[2, :64, :64]]
    (tmp_path / "a").mkdir()
    for k, crop in enumerate(crops):
        Image.fromarray(crop).save(tmp_path / "a" / f"{k}.png")
    groups = arms.surfaces([sorted((tmp_path / "a").iterdir())], {"method": "random"})
    assert groups == ["a/0.png", "a/0.png", "a/2.png", "a/3.png"]


@pytest.mark.parametrize("network", classifiers.NETWORKS)
def test_each_network_starts_from_torchvisions_weights_but_for_its_output_layer(network, tmp_path):
    """A file as released, with 1000 classes, and as some training scripts leave it."""
    theirs = getattr(torchvision.models, classifiers.NETWORKS[network])(num_classes=7)
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "theirs.pth")
    ours = classifiers.build(network, 3, tmp_path / "theirs.pth").eval()
    heads = [k for k, v in ours.state_dict().items() if v.shape != theirs.state_dict()[k].shape]
    assert 1 <= len(heads) <= 2 and all(k.startswith(("classifier.", "fc.")) for k in heads)
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items() if k not in heads)
    assert classifiers.predict(ours, torch.zeros(1, 3, 200, 200, dtype=torch.uint8), "cpu").shape == (1, 3)


def test_a_pretrained_file_that_holds_more_than_tensors_is_refused(place, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    error = here(place, "classify.py", "--data", "steel", "--pretrained", tmp_path / "model.pt", ok=False)
    assert "holds more than tensors" in error and "weights_only" not in error


@pytest.mark.parametrize("sizes", [((5, 5), (6, 6)), ((6, 6), (7, 7)), ((4, 9), (2, 3))])
def test_pooling_by_matrices_is_adaptive_average_pooling(sizes):
    x = torch.randn(2, 3, *sizes[0], dtype=torch.float64)
    theirs = torch.nn.AdaptiveAvgPool2d(sizes[1])(x)
    assert torch.allclose(classifiers.AdaptivePool(sizes[1])(x), theirs, atol=1e-7)


def test_of_epochs_with_equal_accuracy_the_one_with_the_least_loss_is_kept():
    torch.manual_seed(0)
    x = torch.stack([torch.full((3, 200, 200), 40 + 150 * (k % 2)) for k in range(8)]).to(torch.uint8)
    y = torch.arange(8) % 2
    model = classifiers.build("squeezenet", 2)
    trained = classifiers.train(model, x, y * 0, x[:4], y[:4] * 0, epochs=4, seed=0, device="cpu", lr=1e-3)
    model = classifiers.build("squeezenet", 2)
    model.load_state_dict(trained.state)
    assert [score.accuracy for score in trained.history].count(trained.best.accuracy) > 1
    loss = torch.nn.functional.nll_loss(classifiers.predict(model, x[:4], "cpu").log(), y[:4] * 0)
    assert float(-loss) == pytest.approx(max(score.minus_loss for score in trained.history), abs=1e-6)


def test_round_trips_must_be_there_and_as_many_as_the_generated_images(place, generated, tmp_path):
    copied = tmp_path / "generated"
    shutil.copytree(place / "generated", copied)
    for file in sorted((copied / "pits" / "copies").iterdir())[:3]:
        file.unlink()
    base = ["classify.py", "--data", "steel", "--control", "copies", "--generated"]
    assert "9 round trips for 12 generated images" in here(place, *base, copied, ok=False)
    shutil.rmtree(copied / "patches" / "copies")
    assert "has no copies yet" in here(place, *base, copied, ok=False)


def test_a_class_without_test_images_is_named(place, tmp_path):
    shutil.copytree(place / "steel", tmp_path / "steel")
    for file in sorted((tmp_path / "steel" / "pits").iterdir())[2:]:
        file.unlink()
    assert "pits has no" in here(tmp_path, "classify.py", "--data", "steel", ok=False)


def test_arms_of_another_training_are_not_compared(place, generated):
    base = ["classify.py", "--data", "steel", "--out", "unlike", "--alpha", "0.5"]
    here(place, *base, "--mode", "none", "--epochs", "1")
    assert "against none" not in here(place, *base, "--mode", "synthetic", "--epochs", "2", *generated)


def test_training_in_bfloat16_follows_float32(place):
    files = [sorted((place / "steel" / name).iterdir()) for name in ("patches", "pits")]
    x, y = classifiers.load_images(files[0] + files[1]), torch.tensor([0] * 12 + [1] * 12)
    states = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = classifiers.build("squeezenet", 2)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        state = classifiers.train(model, x, y, x, y, epochs=2, seed=0, device="cpu", dtype=dtype).state
        assert all(v.dtype == torch.float32 for v in state.values())
        states.append(torch.cat([(v - before[k]).flatten() for k, v in state.items()]))
    assert torch.nn.functional.cosine_similarity(*states, dim=0) > 0.8


def test_an_onnx_file_gives_the_probabilities_of_the_classifier_for_any_number_of_images(place, tmp_path):
    import onnxruntime

    torch.manual_seed(0)
    model = classifiers.build("squeezenet", 3)
    classifiers.save(tmp_path / "model.safetensors", model.state_dict(), "squeezenet", ["a", "b", "c"])
    out = here(tmp_path, "classify.py", "--onnx", "model.onnx", "--model", "model.safetensors")
    assert "probabilities of a, b, c" in out
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    images = classifiers.load_images(sorted((place / "steel" / "pits").iterdir())[:5])
    for batch in (images[:1], images):
        theirs, = session.run(None, {"images": batch.numpy()})
        ours = classifiers.predict(model, batch, "cpu").numpy()
        assert theirs.shape == (len(batch), 3) and np.abs(theirs - ours).max() < 1e-5


def test_images_of_another_size_and_mode_are_classified_too(place, tmp_path):
    weights = classifiers.build("squeezenet", 2).state_dict()
    classifiers.save(tmp_path / "m.safetensors", weights, "squeezenet", ["a", "b"])
    (tmp_path / "new").mkdir()
    Image.new("RGB", (64, 300), (90, 20, 10)).save(tmp_path / "new" / "colour.jpg")
    Image.new("L", (200, 200), 90).save(tmp_path / "new" / "gray.bmp")
    here(tmp_path, "classify.py", "--predict", "new", "--model", "m.safetensors")
    assert [row["file"] for row in csv.DictReader(open(tmp_path / "predictions.csv"))] == ["colour.jpg", "gray.bmp"]


def test_the_classes_of_files_do_not_depend_on_how_many_are_read_at_once(place):
    torch.manual_seed(0)
    model, files = classifiers.build("squeezenet", 2).eval(), sorted((place / "steel" / "pits").iterdir())[:5]
    whole = classifiers.predict(model, classifiers.load_images(files), "cpu")
    assert torch.allclose(classifiers.predict_files(model, files, "cpu", batch_size=2), whole, atol=1e-6)
