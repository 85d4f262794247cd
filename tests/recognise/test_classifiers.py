"""The networks: built, started from other weights, used on images and exported."""
import csv

import numpy as np
import pytest
import torch
import torchvision
from commands import here
from PIL import Image
from steel_place import make_place  # noqa: F401 (fixture)

from stablesdg.recognise import classifiers
from stablesdg.recognise.saved import save_classifier


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


@pytest.mark.parametrize("imitated", [None, 20])
def test_an_onnx_file_gives_the_probabilities_of_the_classifier_for_any_number_of_images(place, tmp_path, imitated):
    import onnxruntime

    torch.manual_seed(0)
    model = classifiers.build("squeezenet", 3, imitated=imitated)
    save_classifier(tmp_path / "model.safetensors", model.state_dict(), "squeezenet", ["a", "b", "c"])
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
    save_classifier(tmp_path / "m.safetensors", weights, "squeezenet", ["a", "b"])
    (tmp_path / "new").mkdir()
    Image.new("RGB", (64, 300), (90, 20, 10)).save(tmp_path / "new" / "colour.jpg")
    Image.new("L", (200, 200), 90).save(tmp_path / "new" / "gray.bmp")
    here(tmp_path, "classify.py", "--predict", "new", "--model", "m.safetensors")
    rows = csv.DictReader(open(tmp_path / "classes-m-on-new.csv"))
    assert [row["file"] for row in rows] == ["colour.jpg", "gray.bmp"]


def test_the_classes_of_files_do_not_depend_on_how_many_are_read_at_once(place):
    torch.manual_seed(0)
    model, files = classifiers.build("squeezenet", 2).eval(), sorted((place / "steel" / "pits").iterdir())[:5]
    whole = classifiers.predict(model, classifiers.load_images(files), "cpu")
    assert torch.allclose(classifiers.predict_files(model, files, "cpu", batch_size=2), whole, atol=1e-6)
