"""What surrounds the arms of recognition: settings, images, one training and test, what is kept, a classifier's use."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.folders import list_categories, list_images
from ..data.generated import source_name
from ..data.images import save_image
from ..data.split import PARTS, Split, load_split, part_files
from ..recognise import classifiers
from ..recognise.arms import (
    Arm,
    FilesByClass,
    GeneratedImages,
    TrainingSet,
    as_many,
    as_tensors,
    find_generated,
    surfaces,
)
from ..recognise.results import Result, SeedResult, Setup, images_sha256, save_result
from ..report.confusion import confusion_picture
from ..storage.errors import UserError
from ..storage.files import sha256, write_csv
from .devices import pick_device, pick_dtype
from .paths import RUNS, split_file


@dataclass(frozen=True)
class ClassifySettings:
    """The arguments of classify.py."""
    data: Path | None  # None with --predict and --onnx alone
    generated: Path | None
    network: str
    mode: str
    control: str | None
    alpha: float
    per_class: int | None
    number: int | None
    name: str | None
    split: str | None
    epochs: int
    seeds: int
    patience: int | None
    pretrained: Path | None
    device: str
    dtype: str
    predict: Path | None
    model: Path | None
    onnx: Path | None
    resume: bool
    out: Path | None

    @property
    def arm(self) -> Arm:
        """What the networks train on."""
        return Arm(self.control or self.mode, self.alpha, self.per_class, self.number)

    def as_arguments(self) -> dict[str, Any]:
        """For the result's JSON file."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}


# ---- images -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledImages:
    """Images that networks are judged by."""
    x: Tensor  # uint8 (N, 3, 200, 200)
    y: Tensor  # classes (N,)


@dataclass(frozen=True)
class GeneratedClasses:
    """The generated images of all classes, as far as an arm uses them."""
    files: FilesByClass  # [] for --mode none
    seen: frozenset[str]  # sha256 of the real images that their generators have seen
    unknown: list[str]  # classes whose images do not say what made them


@dataclass(frozen=True)
class Experiment:
    """One arm, ready to be trained and tested."""
    settings: ClassifySettings
    setup: Setup
    device: torch.device
    dtype: torch.dtype
    train: FilesByClass
    generated: GeneratedClasses
    validation: LabelledImages
    test: LabelledImages
    out: Path


def open_experiment(settings: ClassifySettings) -> Experiment:
    """Find and check all images, and read those of the validation and test part."""
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    assert settings.data, "classify.py asks for --data"
    folders = list_categories(settings.data)
    classes = [folder.resolve().name for folder in folders]
    if len(classes) < 2:
        raise UserError(f"{settings.data} has one class folder only, {classes[0]}: a classifier needs two or more.")
    split = load_split(split_file(folders[0]), folders, settings.split)
    parts = {part: [part_files(split, folder, part) for folder in folders] for part in PARTS}
    require_images(classes, parts)
    warn_of_small_classes(classes, parts["train"], settings.per_class)
    generated = open_generated(settings, classes, split)
    if generated.unknown:
        print(f"the images in {settings.generated} for {generated.unknown[0]} do not say what made them: nothing tells "
              "whether their generator has seen validation or test images")
    print(f"{len(classes)} classes, {split['method']} split; images: "
          + ", ".join(f"{sum(map(len, parts[part]))} {part}" for part in PARTS))
    setup = Setup(
        settings.network, settings.arm.name, settings.name or settings.arm.name, settings.alpha, settings.per_class,
        split["method"], classes, bool(generated.unknown),
        pretrained_sha256=sha256(settings.pretrained) if settings.pretrained else None,
        device=device.type, dtype=str(dtype).removeprefix("torch."),
        test_files=[source_name(file) for files in parts["test"] for file in files],
        test_groups=surfaces(parts["test"], split), held_out_sha256=images_sha256(parts["val"], parts["test"]),
        images_sha256=images_sha256(parts["train"], generated.files), arguments=settings.as_arguments())
    validation, test = (LabelledImages(*as_tensors(parts[part])) for part in ("val", "test"))
    out = settings.out or RUNS / settings.data.resolve().name / "classify"
    return Experiment(settings, setup, device, dtype, parts["train"], generated, validation, test, out)


def require_images(classes: list[str], parts: dict[str, list[list[Path]]]) -> None:
    """Raise UserError if a class has no image in one of the parts."""
    for part, files_by_class in parts.items():
        if lacking := [name for name, files in zip(classes, files_by_class) if not files]:
            raise UserError(f"{lacking[0]} has no {part} images: a class needs at least three images that share no "
                            "surface, or --split random (python -m stablesdg.split --replace).")


def warn_of_small_classes(classes: list[str], train: FilesByClass, per_class: int | None) -> None:
    """Say which classes have fewer training images than --per-class asks for."""
    for name, files in zip(classes, train):
        if per_class and len(files) < per_class:
            print(f"{name} has only {len(files)} training images, so --per-class {per_class} takes those")


def open_generated(settings: ClassifySettings, classes: list[str], split: Split) -> GeneratedClasses:
    """Find and check the images of --generated. The arms steps and classic only count them, whatever made them."""
    folder, arm = settings.generated, settings.arm.name
    if not folder:
        return GeneratedClasses([], frozenset(), [])
    made = [find_generated(folder, name, split) for name in classes]
    files = [one.files for one in made]
    if arm == "copies":
        made = [find_generated(folder, name, split, "copies") for name in classes]
        files = as_many([one.files for one in made], files, settings.number)
    used: list[GeneratedImages] = [] if arm in ("steps", "classic") else made
    return GeneratedClasses(files, frozenset().union(*(one.seen or () for one in used)),
                            [name for name, one in zip(classes, used) if one.seen is None])


# ---- one seed ---------------------------------------------------------------------------------------------------


def train_network(experiment: Experiment, images: TrainingSet, seed: int) -> classifiers.TrainedNetwork:
    """Train a network on one draw of images."""
    settings, setup = experiment.settings, experiment.setup
    print(f"seed {seed}: training on {images.n_real} real and {images.n_other} other images, {settings.epochs} epochs")
    torch.manual_seed(seed)
    model = classifiers.build(setup.network, len(setup.classes), settings.pretrained)
    return classifiers.train(model, images.x, images.y, experiment.validation.x, experiment.validation.y,
                             epochs=settings.epochs, seed=seed, device=experiment.device, patience=settings.patience,
                             dtype=experiment.dtype, label=f"{setup.network} {setup.name} seed {seed}")


def test_network(experiment: Experiment, images: TrainingSet, trained: classifiers.TrainedNetwork,
                 seed: int) -> SeedResult:
    """Test the epoch that was best on the validation part, once."""
    test, n_classes = experiment.test, len(experiment.setup.classes)
    predicted = classifiers.predict(trained.model, test.x, experiment.device).argmax(dim=1)
    confusion = torch.bincount(test.y * n_classes + predicted, minlength=n_classes**2).view(n_classes, n_classes)
    accuracy = float((predicted == test.y).float().mean())
    epochs, best, n_validation = len(trained.history), trained.best.accuracy, len(experiment.validation.y)
    print(f"seed {seed}: test accuracy {accuracy:.4f} ({len(test.y)} images) at epoch {trained.best_epoch}, best of "
          f"{epochs} on validation ({best:.4f} of {n_validation} images)")
    return SeedResult(seed, epochs, epochs * classifiers.steps(len(images.x)), images.n_real, images.n_other,
                      trained.best_epoch, best, accuracy, (predicted == test.y).int().tolist(),
                      confusion.tolist())


def add_seed(experiment: Experiment, result: Result, images: TrainingSet, trained: classifiers.TrainedNetwork,
             tested: SeedResult) -> Result:
    """The result with one more seed, written to disk so that --resume can go on from it.

    The weights are kept if they are better on the validation part than those of all earlier seeds.
    """
    setup = result.setup
    if round(tested.val_accuracy, 6) > max((round(one.val_accuracy, 6) for one in result.seeds), default=-1.0):
        classifiers.save(experiment.out / f"{setup.stem}.safetensors", trained.state, setup.network, setup.classes)
    drawn = {sha256(file) for files in images.real for file in files}
    result = result.add(tested, images.n_added, len(experiment.generated.seen - drawn))
    keep_result(experiment, result)
    return result


def keep_result(experiment: Experiment, result: Result) -> list[str]:
    """Write all of a result except its weights. Returns a sentence for each result that it is compared with."""
    stem = result.setup.stem
    verdicts = save_result(experiment.out, result)
    save_image(experiment.out / f"confusion-{stem}.png",
               confusion_picture(result.confusion.tolist(), result.setup.classes, stem))
    return verdicts


# ---- use --------------------------------------------------------------------------------------------------------


def export_classifier(model: Path, onnx: Path) -> None:
    """--onnx."""
    network, classes = classifiers.load(model)
    classifiers.export_onnx(network, onnx)
    print(f"wrote {onnx}: uint8 images (N, 3, 200, 200) to probabilities of {', '.join(classes)}")


def classify_folder(model: Path, folder: Path, out: Path | None, device_name: str) -> None:
    """--predict: a CSV file with the class and the probabilities of each image of a folder."""
    device = pick_device(device_name)
    network, classes = classifiers.load(model)
    files = list_images(folder)
    probabilities = classifiers.predict_files(network.to(device), files, device)
    out = out or Path("predictions.csv")
    file = out / "predictions.csv" if out.is_dir() else out
    write_csv(file, ("file", "class", *classes), [
        (image.name, classes[int(p.argmax())], *(f"{float(value):.6f}" for value in p))
        for image, p in zip(files, probabilities)])
    print(f"wrote {file}: the class of {len(files)} images")
