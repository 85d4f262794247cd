"""The images of classify.py: found, checked, and read as pixels or as frozen features."""
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..data.split import Split
from ..evaluate.extract import FeatureExtractor, nano_extractor
from ..evaluate.imagenet import imagenet_extractor
from ..recognise import classifiers
from ..recognise.arms import FilesByClass
from ..recognise.frozen import FROZEN
from ..recognise.generated_sets import GeneratedImages, as_many, find_generated, unlike_settings
from ..storage.errors import UserError
from .classify_settings import ClassifySettings


@dataclass(frozen=True)
class LabelledImages:
    """Images that networks are judged by."""
    x: Tensor  # uint8 (N, 3, S, S), or features (N, d) for frozen features
    y: Tensor  # classes (N,)


@dataclass(frozen=True)
class GeneratedClasses:
    """The generated images of all classes, as far as an arm uses them."""
    files: FilesByClass  # [] for --mode none
    seen: frozenset[str]  # sha256 of the real images that their generators have seen
    unknown: list[str]  # classes whose images do not say what made them
    unlike: list[str]  # how the settings that made them differ between classes


def require_images(classes: list[str], parts: dict[str, list[list[Path]]]) -> None:
    """Raise UserError if a class has no image in one of the parts."""
    for part, files_by_class in parts.items():
        if lacking := [name for name, files in zip(classes, files_by_class) if not files]:
            raise UserError(f"{lacking[0]} has no {part} images: a class needs at least three images that share no "
                            "surface, or python -m stablesdg.split DATA --split random --replace.")


def warn_of_small_classes(classes: list[str], train: FilesByClass, per_class: int | None) -> None:
    """Say which classes have fewer training images than --per-class asks for."""
    for name, files in zip(classes, train):
        if per_class and len(files) < per_class:
            print(f"{name} has only {len(files)} training images, so --per-class {per_class} takes those")


def open_generated(settings: ClassifySettings, classes: list[str], split: Split) -> GeneratedClasses:
    """Find and check the images of --generated. The arms steps and classic only count them, whatever made them."""
    folder, arm = settings.generated, settings.arm.name
    if not folder:
        return GeneratedClasses([], frozenset(), [], [])
    if strange := [name for name in settings.real_only if name not in classes]:
        raise UserError(f"--real-only {strange[0]}: there is no such class; there are {', '.join(classes)}.")
    having = [name for name in classes if name not in settings.real_only]
    if not having:
        raise UserError("--real-only names all classes, so that no generated image is left: leave one out.")
    if arm in ("substitute", "synthetic") and len(having) < len(classes):
        raise UserError(f"--mode {arm} takes generated images of all classes: leave out --real-only.")
    made = [find_generated(folder, name, split) for name in having]
    files = [one.files for one in made]
    if arm == "copies":
        made = [find_generated(folder, name, split, "copies") for name in having]
        files = as_many([one.files for one in made], files, settings.number)
    of_class = dict(zip(having, files))
    used: list[GeneratedImages] = [] if arm in ("steps", "classic") else made
    return GeneratedClasses([of_class.get(name, []) for name in classes],
                            frozenset().union(*(one.seen or () for one in used)),
                            [name for name, one in zip(having, used) if one.seen is None],
                            unlike_settings(having, [one.settings for one in used]))


def say_origin(settings: ClassifySettings, generated: GeneratedClasses) -> None:
    """Say what is not known of the generated images, and what a classifier could learn instead of the defects."""
    if generated.unknown:
        print(f"the images in {settings.generated} for {generated.unknown[0]} do not say what made them: nothing tells "
              "whether their generator has seen validation or test images")
    if generated.unlike:
        print("warning: the generated images of the classes were not made alike, and a classifier can learn that "
              f"instead of the defects: {'; '.join(generated.unlike)}")


def open_features(settings: ClassifySettings, device: torch.device) -> FeatureExtractor | None:
    """The frozen features that --network nano or imagenet, --teacher, --imitate and --filter need, or None."""
    wanted = (settings.network, settings.teacher, settings.imitate, settings.filter_features)
    if "imagenet" in wanted:
        return imagenet_extractor(device)
    return nano_extractor(device) if "nano" in wanted else None


def loader(settings: ClassifySettings, extractor: FeatureExtractor | None) -> Callable[[list[Path]], Tensor]:
    """What makes a tensor of image files."""
    if settings.network in FROZEN and extractor:
        return partial(extractor.of_files, progress="features")
    return partial(classifiers.load_images, side=settings.side)
