"""A trained classifier on new images and on labelled ones: --predict, --threshold, --evaluate."""
import csv
import re
import shutil

import pytest
import torch
from commands import here
from PIL import Image

from stablesdg.recognise import classifiers
from stablesdg.recognise.saved import save_classifier
from stablesdg.recognise.significance import interval
from stablesdg.storage.files import sha256

NAMES = ["patches", "pits", "scratches"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, steel):
    """A working directory with labelled images in steel/ and a classifier of them in models/."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(steel, place / "steel")
    torch.manual_seed(0)
    model = classifiers.build("squeezenet", 3)
    save_classifier(place / "models" / "m.safetensors", model.state_dict(), "squeezenet", NAMES, seen=[])
    return place


def rows_of(file):
    return list(csv.DictReader(open(file)))


def test_predictions_lie_beside_the_model_and_the_path_is_said(place):
    out = here(place, "classify.py", "--predict", "steel/pits", "--model", "models/m.safetensors")
    assert "wrote models/classes-m-on-pits.csv: the class of 12 images\n" in out
    assert [row["file"] for row in rows_of(place / "models" / "classes-m-on-pits.csv")] == [
        file.name for file in sorted((place / "steel" / "pits").iterdir())]


def test_predictions_of_another_folder_replace_nothing_and_a_name_without_an_ending_is_a_folder(place):
    use = ["classify.py", "--model", "models/m.safetensors", "--out", "said", "--predict"]
    for name in ("pits", "patches"):
        here(place, *use, f"steel/{name}")
    here(place, "classify.py", "--model", "models/m.safetensors", "--out", "said", "--evaluate", "steel")
    assert sorted(file.name for file in (place / "said").glob("*-m-on-*.csv")) == [
        "classes-m-on-patches.csv", "classes-m-on-pits.csv", "confusion-m-on-steel.csv", "predictions-m-on-steel.csv"]


def test_images_below_the_threshold_are_unsure_and_counted(place):
    use = ["classify.py", "--predict", "steel/pits", "--model", "models/m.safetensors", "--out"]
    here(place, *use, "all.csv")
    certain = sorted(max(float(row[name]) for name in NAMES) for row in rows_of(place / "all.csv"))
    threshold = (certain[3] + certain[4]) / 2
    out = here(place, *use, "some.csv", "--threshold", threshold)
    assert f"; 4 of them are unsure (below {threshold:g})" in out
    for before, row in zip(rows_of(place / "all.csv"), rows_of(place / "some.csv")):
        sure = max(float(row[name]) for name in NAMES) >= threshold
        assert row["class"] == (before["class"] if sure else "unsure")


def test_class_folders_are_classified_too_and_evaluate_is_named(place):
    out = here(place, "classify.py", "--predict", "steel", "--model", "models/m.safetensors", "--out", "labelled.csv")
    assert "python classify.py --evaluate steel --model models/m.safetensors gives the accuracy" in out
    files = [row["file"] for row in rows_of(place / "labelled.csv")]
    assert len(files) == 36 and files[0] == f"patches/{min(f.name for f in (place / 'steel' / 'patches').iterdir())}"


def test_labelled_images_give_accuracy_recall_and_a_confusion_matrix(place):
    out = here(place, "classify.py", "--evaluate", "steel", "--model", "models/m.safetensors", "--out", "judged")
    rows = rows_of(place / "judged" / "predictions-m-on-steel.csv")
    assert [row["true"] for row in rows] == [name for name in NAMES for _ in range(12)]
    right = [row["true"] == row["class"] for row in rows]
    found = interval([right])  # drawn steel: no two images share surface
    assert f"accuracy {sum(right) / 36:.4f}, 95 % interval {found.low:.3f} to {found.high:.3f} (36 images of 36" in out
    assert "macro-F1" in out
    for name in NAMES:
        recall = sum(row["class"] == name for row in rows if row["true"] == name) / 12
        assert f"{name} {recall:.3f} (n = 12)" in out
    table = rows_of(place / "judged" / "confusion-m-on-steel.csv")
    for row in table:
        mine = [other["class"] for other in rows if other["true"] == row["true \\ predicted"]]
        assert [int(row[name]) for name in NAMES] == [mine.count(name) for name in NAMES]
    assert (place / "judged" / "confusion-m-on-steel.png").is_file()


def test_the_files_of_an_evaluation_lie_beside_the_model(place):
    out = here(place, "classify.py", "--evaluate", "steel", "--model", "models/m.safetensors")
    assert "wrote models/confusion-m-on-steel.png" in out
    assert {file.name for file in (place / "models").iterdir()} >= {
        "confusion-m-on-steel.png", "confusion-m-on-steel.csv", "predictions-m-on-steel.csv"}


def test_a_folder_that_is_no_class_of_the_classifier_is_named(place, tmp_path):
    shutil.copytree(place / "steel", tmp_path / "more")
    (tmp_path / "more" / "pits").rename(tmp_path / "more" / "dents")
    error = here(tmp_path, "classify.py", "--evaluate", "more", "--model", place / "models" / "m.safetensors", ok=False)
    assert "more has the folder dents, but the classifier knows patches, pits, scratches only" in error


def test_a_class_without_images_is_said_and_has_no_part_in_the_means(place, tmp_path):
    for name in NAMES[:2]:
        shutil.copytree(place / "steel" / name, tmp_path / "fewer" / name)
    model = place / "models" / "m.safetensors"
    out = here(tmp_path, "classify.py", "--evaluate", "fewer", "--model", model, "--out", "out")
    assert "fewer has no images of scratches" in out
    recalls = [float(value) for value in re.findall(r"(?:patches|pits) ([\d.]+) \(n = 12\)", out)]
    balanced = float(re.search(r"mean recall of the classes\) ([\d.]+)", out)[1])
    assert len(recalls) == 2 and "scratches 0" not in out and balanced == pytest.approx(sum(recalls) / 2, abs=1e-3)


def test_images_of_one_surface_count_as_one_in_the_interval_of_an_evaluation(place, tmp_path):
    for name in NAMES[:2]:
        (tmp_path / "same" / name).mkdir(parents=True)
        whole = Image.open(min((place / "steel" / name).iterdir()))
        for k in range(4):
            whole.crop((k, 0, k + whole.width - 4, whole.height - 4)).save(tmp_path / "same" / name / f"{k}.png")
    out = here(tmp_path, "classify.py", "--evaluate", "same", "--model", place / "models" / "m.safetensors")
    assert "(8 images of 2 surfaces)" in out


def test_images_that_a_classifier_has_learned_from_are_counted(place, tmp_path):
    files = sorted((place / "steel" / "pits").iterdir())[:5]
    weights = classifiers.build("squeezenet", 3).state_dict()
    save_classifier(tmp_path / "m.safetensors", weights, "squeezenet", NAMES, seen=[sha256(file) for file in files])
    use = ["classify.py", "--evaluate", place / "steel", "--model", "m.safetensors"]
    assert "has learned from 5 of these 36 images, so the accuracy is too high" in here(tmp_path, *use)
    save_classifier(tmp_path / "m.safetensors", weights, "squeezenet", NAMES)
    assert "does not say which images it has learned from" in here(tmp_path, *use)


def test_a_classifier_says_which_images_it_was_trained_on_and_chosen_by(place):
    here(place, "classify.py", "--data", "steel", "--epochs", "1", "--out", "trained")
    out = here(place, "classify.py", "--evaluate", "steel", "--model", "trained/squeezenet-none-1.safetensors")
    assert "has learned from 33 of these 36 images" in out  # all but one test image of each class


@pytest.mark.parametrize("words, said", [
    (["--evaluate", "steel"], "need --model FILE"), (["--model", "models/m.safetensors"], "is not used"),
    (["--model", "models/m.safetensors", "--evaluate", "steel", "--threshold", "0.9"], "belongs to --predict"),
    (["--model", "models/m.safetensors", "--evaluate", "steel", "--predict", "steel"], "are two calls"),
    (["--model", "models/m.safetensors", "--evaluate", "steel/pits"], "the folder above it")])
def test_what_cannot_be_done_is_an_error_in_a_sentence(place, words, said):
    error = here(place, "classify.py", *words, ok=False)
    assert said in error and error.count("\n") == 1
