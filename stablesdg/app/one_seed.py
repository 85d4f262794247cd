"""One seed of an arm: its images are drawn, a network is trained on them, and tested once."""
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..evaluate.filter import NOT_JUDGED, USED, ImageVerdict, count_reasons
from ..recognise import classifiers
from ..recognise.arms import TrainingSet, choose_real, training_set
from ..recognise.classifiers import State
from ..recognise.frozen import FROZEN, FrozenClassifier
from ..recognise.imitation import imitate
from ..recognise.results import SeedResult, save_filtered
from ..recognise.targets import make_targets
from ..recognise.teacher import Teacher, filter_generated, fit_teacher
from ..recognise.training import (
    IMITATION_LEARNING_RATE,
    LEARNING_RATE,
    Examples,
    TrainedNetwork,
    fit_frozen,
    train,
)
from ..storage.errors import UserError
from .classify_images import LabelledImages
from .experiment import Experiment


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
    on = f"seed {seed}: training on {images.n_real} real and {images.n_added} other images"
    if setup.network in FROZEN and experiment.extractor:
        print(f"{on}, frozen features")
        return fit_frozen(experiment.extractor, images.x, images.y, len(setup.classes), validation.x, validation.y,
                          settings.balanced)
    print(f"{on}, {f'{settings.steps} steps' if settings.steps else f'{settings.recipe.epochs} epochs'}")
    examples = examples_of(experiment, images, teacher)
    torch.manual_seed(seed)
    model = classifiers.build(setup.network, len(setup.classes), settings.pretrained,
                              len(examples.imitated.probe.mean) if examples.imitated else None)
    return train(model, examples, validation.x, validation.y, settings.recipe, seed=seed, device=experiment.device,
                 lr=IMITATION_LEARNING_RATE if examples.imitated else LEARNING_RATE, dtype=experiment.dtype,
                 label=f"{setup.network} {setup.name} seed {seed}")


def examples_of(experiment: Experiment, images: TrainingSet, teacher: Teacher | None) -> Examples:
    """The images with what a network is to answer: classes, a teacher's labels and weights of the loss, or features."""
    settings, targets = experiment.settings, None
    if settings.teacher or settings.mix or settings.generated_weight != 1:
        soft = teacher.label(images.files) if teacher and settings.teacher else None
        drawn = {file for files in images.real for file in files}
        certain = torch.tensor([file in drawn for file in images.files])
        weight = torch.where(images.added, settings.generated_weight, 1.0)
        targets = make_targets(images.y, len(experiment.setup.classes), soft, certain, weight)
    examples = Examples(images.x, images.y, images.added, targets)
    if not (settings.imitate and experiment.extractor):
        return examples
    real, validation = examples.real(), experiment.validation
    return replace(examples, imitated=imitate(experiment.extractor.network, images.x[real], images.y[real],
                                              validation.x, validation.y, len(experiment.setup.classes),
                                              settings.balanced, experiment.device))


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
    if trained.imitated:
        known = trained.imitated.probabilities(test.x, experiment.device).argmax(dim=1)
        print(f"seed {seed}: the features that it imitates reach {float((known == test.y).float().mean()):.4f} at "
              f"{experiment.settings.side} pixels")
    return SeedResult(seed, epochs, trained.steps, images.n_real, images.n_added, trained.best_epoch, best, accuracy,
                      (predicted == test.y).int().tolist(), confusion.tolist())
