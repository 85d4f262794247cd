"""One arm of recognition with its images, ready to be trained and tested."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.folders import list_categories, name_of
from ..data.split import PARTS, load_split, part_files, surfaces_of
from ..evaluate.extract import FeatureExtractor
from ..recognise.arms import FilesByClass, as_tensors, surfaces
from ..recognise.hard import read_hard
from ..recognise.results import Setup, images_sha256
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
        test_files=[name_of(file) for files in parts["test"] for file in files],
        test_groups=surfaces(parts["test"], split), held_out_sha256=images_sha256(parts["val"], parts["test"]),
        images_sha256=images_sha256(parts["train"], generated.files), arguments=settings.as_arguments(),
        features=extractor.key if extractor else None,
        hard_sha256=sha256(settings.hard) if settings.hard else None, training_sha256=images_sha256(parts["train"]))
    load = loader(settings, extractor)
    validation, test = (LabelledImages(*as_tensors(parts[part], load)) for part in ("val", "test"))
    seen = frozenset(sha256(file) for files in parts["val"] for file in files)
    train_files = [file for files in parts["train"] for file in files]
    surface_of = dict(zip(train_files, surfaces_of(split, train_files)))
    repeated = dict(zip(train_files, read_hard(settings.hard, train_files, split))) if settings.hard else None
    return Experiment(settings, setup, device, dtype, parts["train"], repeated, generated, surface_of, extractor,
                      validation, parts["val"], seen, test, settings.results_folder)
