"""What surrounds the arms of recognition: images, one training and test, what is kept and what is said."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.folders import list_categories
from ..data.generated import source_name
from ..data.images import save_image
from ..data.split import PARTS, Split, load_split, part_files, surfaces_of
from ..evaluate.extract import FeatureExtractor, nano_extractor
from ..evaluate.filter import NOT_JUDGED, USED, ImageVerdict, count_reasons
from ..recognise import classifiers
from ..recognise.arms import (
    FilesByClass,
    TrainingSet,
    as_tensors,
    choose_real,
    surfaces,
    training_set,
)
from ..recognise.classifiers import State
from ..recognise.frozen import FROZEN, FrozenClassifier
from ..recognise.hard import write_hard
from ..recognise.results import (
    Result,
    SeedResult,
    Setup,
    images_sha256,
    read_results,
    save_filtered,
    save_result,
    summary_lines,
)
from ..recognise.targets import make_targets
from ..recognise.teacher import Teacher, filter_generated, fit_teacher
from ..recognise.training import Examples, TrainedNetwork, fit_frozen, train
from ..recognise.verdicts import describe, describe_all, find_family
from ..report.confusion import confusion_picture
from ..storage.errors import UserError
from ..storage.files import sha256
from . import processes
from .classify_images import (
    GeneratedClasses,
    LabelledImages,
    loader,
    open_features,
    open_generated,
    require_images,
    say_origin,
    warn_of_small_classes,
)
from .classify_settings import ClassifySettings
from .devices import pick_device, pick_dtype
from .paths import split_file
from .sources import read_weights
from .training_window import training_window

# ---- images -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """One arm, ready to be trained and tested."""
    settings: ClassifySettings
    setup: Setup
    device: torch.device
    dtype: torch.dtype
    train: FilesByClass
    repeated: Mapping[Path, float] | None  # how often each is seen again, relative to the others; None: all alike
    generated: GeneratedClasses
    surface_of: Mapping[Path, str]  # of each training image
    extractor: FeatureExtractor | None  # of frozen features, where these are needed
    validation: LabelledImages
    validation_files: FilesByClass
    validation_sha256: frozenset[str]
    test: LabelledImages
    out: Path

    @property
    def load(self) -> Callable[[list[Path]], Tensor]:
        """What makes a tensor of image files: pixels or frozen features."""
        return loader(self.settings, self.extractor)


def open_experiment(settings: ClassifySettings) -> Experiment:
    """Find and check all images, and read those of the validation and test part."""
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    assert settings.data, "classify.py asks for --data"
    folders = list_categories(settings.data)
    classes = [folder.resolve().name for folder in folders]
    if len(classes) < 2:
        raise UserError(f"{settings.data} has one class folder only, {classes[0]}: a classifier needs two or more.")
    with processes.first_alone():
        split = load_split(split_file(folders[0]), folders, settings.split)
    parts = {part: [part_files(split, folder, part) for folder in folders] for part in PARTS}
    require_images(classes, parts)
    warn_of_small_classes(classes, parts["train"], settings.per_class)
    generated = open_generated(settings, classes, split)
    say_origin(settings, generated)
    print(f"{len(classes)} classes, {split['method']} split; images: "
          + ", ".join(f"{sum(map(len, parts[part]))} {part}" for part in PARTS))
    extractor = open_features(settings, device)
    setup = Setup(
        settings.network, settings.arm.name, settings.result_name, settings.alpha, settings.per_class,
        split["method"], classes, bool(generated.unknown),
        pretrained_sha256=sha256(settings.pretrained) if settings.pretrained else None,
        device=device.type, dtype=str(dtype).removeprefix("torch."),
        test_files=[source_name(file) for files in parts["test"] for file in files],
        test_groups=surfaces(parts["test"], split), held_out_sha256=images_sha256(parts["val"], parts["test"]),
        images_sha256=images_sha256(parts["train"], generated.files), arguments=settings.as_arguments(),
        features=extractor.key if extractor else None,
        hard_sha256=sha256(settings.hard) if settings.hard else None)
    load = loader(settings, extractor)
    validation, test = (LabelledImages(*as_tensors(parts[part], load)) for part in ("val", "test"))
    seen = frozenset(sha256(file) for files in parts["val"] for file in files)
    train_files = [file for files in parts["train"] for file in files]
    surface_of = dict(zip(train_files, surfaces_of(split, train_files)))
    repeated = read_repeated(settings, parts["train"], split)
    return Experiment(settings, setup, device, dtype, parts["train"], repeated, generated, surface_of, extractor,
                      validation, parts["val"], seen, test, settings.results_folder)


def read_repeated(settings: ClassifySettings, train: FilesByClass, split: Split) -> Mapping[Path, float] | None:
    """The weights of --hard, of each training image; None without it."""
    if not settings.hard:
        return None
    return {file: weight for files in train for file, weight in zip(files, read_weights(settings.hard, files, split))}


# ---- one seed ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeedRun:
    """What one seed gave, as one process sends it to another: without pixels, and nothing on a GPU."""
    tested: SeedResult
    state: State  # of the network
    missed: list[bool]  # of each validation image: the network takes it for another class
    real: list[Path]  # the real images that the seed drew
    n_added: int  # images that the arm added to them
    filtered: list[list[ImageVerdict]] | None  # of each class's generated images, with --filter


def run_seed(experiment: Experiment, seed: int) -> SeedRun | None:
    """Draw, train and test one seed. None beyond the last one."""
    if seed >= experiment.settings.seeds:
        return None
    teacher = find_teacher(experiment, seed)
    filtered = judge_generated(experiment, teacher, seed)
    images = draw_images(experiment, filtered, seed)
    trained = train_network(experiment, images, teacher, seed)
    tested = test_network(experiment, images, trained, seed)
    predicted = probabilities(trained, experiment.validation, experiment.device).argmax(dim=1)
    missed = (predicted != experiment.validation.y).tolist()
    return SeedRun(tested, trained.state, missed, [file for files in images.real for file in files], images.n_added,
                   filtered)


def find_teacher(experiment: Experiment, seed: int) -> Teacher | None:
    """The teacher of the real images that a seed draws, where --teacher or --filter needs it."""
    settings, extractor = experiment.settings, experiment.extractor
    if not extractor or not (settings.teacher or settings.filter):
        return None
    real = choose_real(experiment.train, settings.alpha, settings.per_class, seed)
    return fit_teacher(real, experiment.surface_of, extractor)


def judge_generated(experiment: Experiment, teacher: Teacher | None, seed: int) -> list[list[ImageVerdict]] | None:
    """What --filter says of each class's generated images, or None without it."""
    if not (experiment.settings.filter and teacher):
        return None
    verdicts = filter_generated(teacher, experiment.generated.files)
    for name, recall, own in zip(experiment.setup.classes, teacher.recalls().tolist(), verdicts):
        if own:
            print(f"seed {seed}: generated images of {name}: {count_reasons(own)}")
        if any(one.reason == NOT_JUDGED for one in own):
            print(f"warning: the probe recognises {recall:.0%} of the real {name} images when it has not seen their "
                  "surface: --filter cannot tell whether generated ones still show the defect. Look at them")
    return verdicts


def draw_images(experiment: Experiment, filtered: list[list[ImageVerdict]] | None, seed: int) -> TrainingSet:
    """What a seed trains on, without the generated images that were filtered out."""
    settings, setup, generated = experiment.settings, experiment.setup, experiment.generated.files
    if filtered is not None:
        generated = [[one.file for one in own if one.reason in USED] for own in filtered]
        empty = [name for name, files in zip(setup.classes, generated) if not files]
        if empty := [name for name in empty if name not in settings.real_only]:
            tell_of_empty_classes(experiment, empty, seed, filtered)
    return training_set(settings.arm, experiment.train, generated, seed, experiment.load, experiment.repeated)


def tell_of_empty_classes(experiment: Experiment, empty: list[str], seed: int,
                          filtered: list[list[ImageVerdict]]) -> None:
    """Warn of classes of which the filter leaves no generated image.

    Raises UserError where an arm cannot do with their real images, or where no class has an image left.
    """
    setup, settings = experiment.setup, experiment.settings
    said = f"--filter leaves no generated image of {', '.join(empty)}"
    if setup.arm not in ("expand", "steps") or len(empty) + len(settings.real_only) == len(setup.classes):
        save_filtered(experiment.out, setup.name, seed, filtered)
        raise UserError(f"{said}: {experiment.out}/filter.csv says why. Generate others, or leave out --filter.")
    print(f"warning: {said}: real images alone are used there")


def train_network(experiment: Experiment, images: TrainingSet, teacher: Teacher | None, seed: int) -> TrainedNetwork:
    """Train a network on one draw of images, or fit a probe on frozen features."""
    settings, setup, validation = experiment.settings, experiment.setup, experiment.validation
    on = f"seed {seed}: training on {images.n_real} real and {images.n_other} other images"
    if setup.network in FROZEN and experiment.extractor:
        print(f"{on}, frozen features")
        return fit_frozen(experiment.extractor, images.x, images.y, len(setup.classes), validation.x, validation.y,
                          settings.balanced)
    print(f"{on}, {f'{settings.steps} steps' if settings.steps else f'{settings.recipe.epochs} epochs'}")
    torch.manual_seed(seed)
    model = classifiers.build(setup.network, len(setup.classes), settings.pretrained)
    return train(model, examples_of(experiment, images, teacher), validation.x, validation.y, settings.recipe,
                 seed=seed, device=experiment.device, dtype=experiment.dtype,
                 label=f"{setup.network} {setup.name} seed {seed}")


def examples_of(experiment: Experiment, images: TrainingSet, teacher: Teacher | None) -> Examples:
    """The images with what a network is to answer: classes, or a teacher's labels, and weights of the loss."""
    settings, targets = experiment.settings, None
    if settings.teacher or settings.mix or settings.generated_weight != 1:
        soft = teacher.label(images.files) if teacher and settings.teacher else None
        drawn = {file for files in images.real for file in files}
        certain = torch.tensor([file in drawn for file in images.files])
        weight = torch.where(images.added, settings.generated_weight, 1.0)
        targets = make_targets(images.y, len(experiment.setup.classes), soft, certain, weight)
    return Examples(images.x, images.y, images.added, targets)


def probabilities(trained: TrainedNetwork, images: LabelledImages, device: torch.device) -> Tensor:
    """Class probabilities (N, classes) of the validation or test images."""
    if isinstance(trained.model, FrozenClassifier):
        return trained.model.of_features(images.x)
    return classifiers.predict(trained.model, images.x, device)


def test_network(experiment: Experiment, images: TrainingSet, trained: TrainedNetwork, seed: int) -> SeedResult:
    """Test the epoch that was best on the validation part, once."""
    test, n_classes = experiment.test, len(experiment.setup.classes)
    predicted = probabilities(trained, test, experiment.device).argmax(dim=1)
    confusion = torch.bincount(test.y * n_classes + predicted, minlength=n_classes**2).view(n_classes, n_classes)
    accuracy = float((predicted == test.y).float().mean())
    epochs, best, n_validation = len(trained.history), trained.best.accuracy, len(experiment.validation.y)
    print(f"seed {seed}: test accuracy {accuracy:.4f} ({len(test.y)} images) at epoch {trained.best_epoch}, best of "
          f"{epochs} on validation ({best:.4f} of {n_validation} images)")
    return SeedResult(seed, epochs, trained.steps, images.n_real, images.n_other, trained.best_epoch, best, accuracy,
                      (predicted == test.y).int().tolist(), confusion.tolist())


def add_seed(experiment: Experiment, result: Result, run: SeedRun) -> Result:
    """The result with one more seed, written to disk so that --resume can go on from it.

    The weights are kept if they are better on the validation part than those of all earlier seeds. So are the weights
    of images in hard-NAME.csv.
    """
    setup, tested = result.setup, run.tested
    drawn = {sha256(file) for file in run.real}
    if run.filtered is not None:
        save_filtered(experiment.out, setup.name, tested.seed, run.filtered)
    if round(tested.val_accuracy, 6) > max((round(one.val_accuracy, 6) for one in result.seeds), default=-1.0):
        classifiers.save(experiment.out / f"{setup.stem}.safetensors", run.state, setup.network, setup.classes,
                         drawn | experiment.generated.seen | experiment.validation_sha256, experiment.settings.side,
                         training_window(run.real))
        write_hard(experiment.out / f"hard-{setup.stem}.csv", experiment.train, experiment.validation_files, run.missed,
                   experiment.extractor or nano_extractor(experiment.device))
    result = result.add(tested, run.n_added, len(experiment.generated.seen - drawn))
    keep_result(experiment, result)
    return result


def keep_result(experiment: Experiment, result: Result) -> None:
    """Write all of a result except its weights."""
    setup = result.setup
    save_result(experiment.out, result)
    save_image(experiment.out / f"confusion-{setup.stem}.png",
               confusion_picture(result.confusion.tolist(), setup.classes, setup.stem, len(result.seeds)))


def finished_seeds(result: Result, settings: ClassifySettings) -> str:
    """What is kept when a training is stopped."""
    if not result.seeds:
        return "no seed was finished"
    instead = " in the place of --replace" if settings.replace else ""
    return (f"{len(result.seeds)} of {settings.seeds} seeds are kept; the same command with --resume{instead} goes on "
            "with the others")


# ---- what is said -----------------------------------------------------------------------------------------------


def say_result(experiment: Experiment, result: Result) -> None:
    """Print a result, its verdicts against the others in its folder, and the names of its files."""
    out, stem = experiment.out, result.setup.stem
    print(summary_lines(result))
    for line in describe(find_family(result, read_results(out)), out):
        print(line)
    print(f"wrote {out}/results.csv, {stem}.json, confusion-{stem}.png, hard-{stem}.csv and {stem}.safetensors, "
          "which --predict and --evaluate take as --model")


def say_verdicts(folder: Path, name: str | None) -> None:
    """--verdicts: print all results of a folder, or those of one name, and compare them as the folder is now."""
    results = read_results(folder)
    if not results:
        raise UserError(f"{folder} holds no results: train classifiers with classify.py first.")
    if name and name not in (known := sorted({result.name for result in results})):
        raise UserError(f"{folder} holds no result called {name}: it has {', '.join(known)}.")
    for result in results:
        if name in (None, result.name):
            print(f"{result.setup.stem}: {summary_lines(result)}")
    for line in describe_all(results, folder, name):
        print(line)
