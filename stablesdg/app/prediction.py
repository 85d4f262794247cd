"""A trained classifier is used: on new images, on labelled images, and as an ONNX file for other tools."""
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..data.folders import holds_images, list_categories, list_images, require_folder
from ..data.images import save_image
from ..data.surfaces import progress_bar
from ..data.window import reading_by
from ..recognise.arms import surfaces
from ..recognise.classifiers import predict_files
from ..recognise.per_class import scores_in_words
from ..recognise.results import write_confusion
from ..recognise.saved import export_onnx, load_classifier
from ..recognise.significance import interval
from ..report.confusion import confusion_picture
from ..storage.errors import UserError
from ..storage.files import sha256, write_csv
from .classify_settings import ClassifySettings
from .devices import pick_device
from .training_window import choose_window

UNSURE = "unsure"  # written in the place of a class


def use_classifier(settings: ClassifySettings) -> None:
    """--onnx, --predict and --evaluate."""
    assert settings.model, "classify.py asks for it"
    if settings.onnx:
        export_classifier(settings.model, settings.onnx)
    if settings.predict:
        classify_folder(settings.model, settings.predict, settings.out, settings.device, settings.threshold)
    if settings.evaluate:
        evaluate_folder(settings.model, settings.evaluate, settings.out, settings.device)


# ---- new images -------------------------------------------------------------------------------------------------


def classify_folder(model: Path, folder: Path, out: Path | None, device_name: str,
                    threshold: float | None = None) -> None:
    """--predict: a CSV file with the class and the probabilities of each image of a folder.

    out  the file, or a folder for it (default: that of the model)

    An image whose best class is less probable than `threshold` gets UNSURE. Images of class folders are classified,
    too, as CLASS/FILE.
    """
    device = pick_device(device_name)
    saved = load_classifier(model)
    files, names = images_and_names(folder)
    with reading_by(choose_window(model, saved.window, files)):
        probabilities = predict_files(saved.network.to(device), files, device, side=saved.side)
    name = f"classes-{model.stem}-on-{folder.resolve().name}.csv"
    file = out if out and out.suffix and not out.is_dir() else (out or model.parent) / name
    chosen = [UNSURE if threshold and float(p.max()) < threshold else saved.classes[int(p.argmax())]
              for p in probabilities]
    write_csv(file, ("file", "class", *saved.classes), [
        (name, choice, *shares(p)) for name, choice, p in zip(names, chosen, probabilities)])
    unsure = f"; {chosen.count(UNSURE)} of them are {UNSURE} (below {threshold:g})" if threshold else ""
    print(f"wrote {file}: the class of {len(files)} images{unsure}")
    if names[0] != files[0].name:
        print(f"if the folders in {folder} are the true classes, python classify.py --evaluate {folder} --model "
              f"{model} gives the accuracy")


def images_and_names(folder: Path) -> tuple[list[Path], list[str]]:
    """The images of a folder, or of its class folders if it has none itself, and what to call them."""
    if holds_images(require_folder(folder)) or not any(f.is_dir() and holds_images(f) for f in folder.iterdir()):
        files = list_images(folder)
        return files, [file.name for file in files]
    files = [file for own in list_categories(folder) for file in list_images(own)]
    return files, [f"{file.parent.name}/{file.name}" for file in files]


def shares(probabilities: Tensor) -> list[str]:
    """Probabilities (classes,) for a CSV file."""
    return [f"{float(value):.6f}" for value in probabilities]


# ---- labelled images --------------------------------------------------------------------------------------------


def evaluate_folder(model: Path, folder: Path, out: Path | None, device_name: str) -> None:
    """--evaluate: how good a classifier is on a folder of class folders."""
    device = pick_device(device_name)
    saved = load_classifier(model)
    by_class, n_classes = open_labelled(folder, saved.classes), len(saved.classes)
    files = [file for own in by_class for file in own]
    y = torch.tensor([k for k, own in enumerate(by_class) for _ in own])
    warn_of_seen_images(model, files, saved.seen)
    with reading_by(choose_window(model, saved.window, files)):
        probabilities = predict_files(saved.network.to(device), files, device, side=saved.side)
    predicted = probabilities.argmax(dim=1)
    counts = torch.bincount(y * n_classes + predicted, minlength=n_classes**2).view(n_classes, n_classes).tolist()
    groups = surfaces([own for own in by_class if own], None, progress_bar("overlaps"))
    found = interval([(predicted == y).int().tolist()], groups)
    print(f"{model.stem} on {folder}: accuracy {found.mean:.4f}, 95 % interval {found.low:.3f} to {found.high:.3f} "
          f"({len(files)} images of {len(set(groups))} surfaces)\n  {scores_in_words([counts], saved.classes)}")
    out, title = out or model.parent, f"{model.stem}-on-{folder.resolve().name}"
    save_image(out / f"confusion-{title}.png", confusion_picture(counts, saved.classes, title))
    write_confusion(out / f"confusion-{title}.csv", counts, saved.classes)
    write_csv(out / f"predictions-{title}.csv", ("file", "true", "class", *saved.classes), [
        (f"{file.parent.name}/{file.name}", saved.classes[true], saved.classes[guess], *shares(p))
        for file, true, guess, p in zip(files, y.tolist(), predicted.tolist(), probabilities)])
    print(f"wrote {out}/confusion-{title}.png, confusion-{title}.csv and predictions-{title}.csv")


def open_labelled(folder: Path, classes: Sequence[str]) -> list[list[Path]]:
    """The images of each class; [] for one that has no folder, which is said.

    Raises UserError if a folder is none of the classes.
    """
    found = {own.name: list_images(own) for own in list_categories(folder)}
    if unknown := [name for name in found if name not in classes]:
        raise UserError(f"{folder} has the folder {unknown[0]}, but the classifier knows {', '.join(classes)} only: "
                        "rename the folder as one of these, or move it away.")
    if missing := [name for name in classes if name not in found]:
        print(f"{folder} has no images of {', '.join(missing)}: the means below are those of the other classes")
    return [found.get(name, []) for name in classes]


def warn_of_seen_images(model: Path, files: Sequence[Path], seen: frozenset[str] | None) -> None:
    """Say how many of the images the classifier has learned from: their accuracy is too high."""
    if seen is None:
        print(f"{model} does not say which images it has learned from: if these are among them, the accuracy is too "
              "high")
    elif n := sum(sha256(file) in seen for file in files):
        print(f"warning: {model} has learned from {n} of these {len(files)} images, so the accuracy is too high: take "
              "images that had no part in its training or validation")


# ---- other tools ------------------------------------------------------------------------------------------------


def export_classifier(model: Path, onnx: Path) -> None:
    """--onnx."""
    saved = load_classifier(model)
    export_onnx(saved.network, onnx, saved.side)
    size = f"{saved.side}, {saved.side}" if saved.side else "H, W"
    print(f"wrote {onnx}: uint8 images (N, 3, {size}) to probabilities of {', '.join(saved.classes)}")
