"""The arguments of classify.py as one frozen dataclass, and what follows from them."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recognise.arms import Arm
from ..recognise.batches import Drawing
from ..recognise.frozen import FROZEN, probe_features
from ..recognise.training import EPOCHS, LOOKS, Recipe
from .classify_options import OWN_FEATURES
from .paths import dataset_folder


@dataclass(frozen=True)
class ClassifySettings:
    """The arguments of classify.py."""
    data: Path | None  # None where a trained classifier is used
    generated: Path | None
    network: str
    mode: str
    control: str | None
    hard: Path | None
    alpha: float
    per_class: int | None
    number: int | None
    name: str | None
    split: str | None
    epochs: int | None
    steps: int | None
    seeds: int
    patience: int | None
    average: bool
    side: int
    augment: str
    upright: bool
    mix: str | None
    teacher: str | None
    imitate: str | None
    balanced: bool
    share: float | None
    generated_weight: float
    finish_real: float
    pretrain_generated: bool
    real_only: list[str]
    filter: str | None
    pretrained: Path | None
    device: str
    dtype: str
    predict: Path | None
    evaluate: Path | None
    model: Path | None
    threshold: float | None
    onnx: Path | None
    verdicts: bool
    resume: bool
    replace: bool
    out: Path | None

    @property
    def arm(self) -> Arm:
        """What the networks train on."""
        return Arm(self.control or self.mode, self.alpha, self.per_class, self.number)

    @property
    def recipe(self) -> Recipe:
        """How the networks are trained. What is fitted at the end alone counts as one epoch."""
        epochs = min(LOOKS, self.steps) if self.steps else self.epochs or EPOCHS
        once = self.network in FROZEN or self.imitate is not None
        drawing = Drawing(self.balanced, self.share, self.finish_real, self.pretrain_generated)
        return Recipe(1 if once else epochs, self.steps, self.patience, self.augment, self.upright, self.mix,
                      self.average, drawing)

    @property
    def own_features(self) -> str:
        """The frozen features that this arm learns from, or else nano's."""
        return probe_features(self.network, self.imitate or self.teacher)

    @property
    def filter_features(self) -> str | None:
        """The features that --filter judges by; None without it."""
        return self.own_features if self.filter == OWN_FEATURES else self.filter

    @property
    def result_name(self) -> str:
        """--name, or else the arm and what changes how it learns: "expand-teacher-mix"."""
        own = self.own_features
        how = {"hard": self.hard, "filter": self.filter_features == own,
               "imagenet-filter": self.filter_features not in (None, own),
               "imitation": self.imitate == "nano", "imagenet-imitation": self.imitate == "imagenet",
               "teacher": self.teacher == "nano",
               "imagenet-teacher": self.teacher == "imagenet", "mix": self.mix, "balanced": self.balanced,
               "share": self.share, "weighted": self.generated_weight != 1, "finish-real": self.finish_real,
               "pretrain": self.pretrain_generated}
        return self.name or "-".join([self.arm.name, *(word for word, chosen in how.items() if chosen)])

    @property
    def results_folder(self) -> Path:
        """Where results lie."""
        if self.out:
            return self.out
        assert self.data, "classify.py asks for one of them"
        return dataset_folder(self.data) / "classify"

    def as_arguments(self) -> dict[str, Any]:
        """For the result's JSON file."""
        texts = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        return texts | {"epochs": self.recipe.epochs, "filter": self.filter_features}
