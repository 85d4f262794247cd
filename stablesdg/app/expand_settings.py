"""The settings of expand.py, with nothing left open."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.folders import list_categories
from ..evaluate.inception import has_inception_weights
from ..storage.errors import UserError
from ..weights.read import NANO, WEIGHTS, default_weights

PAPER_NUMBER, PAPER_ITERATIONS = 1000, 1000
SMALL_NUMBER, SMALL_ITERATIONS = 100, 150


@dataclass(frozen=True)
class ExpandSettings:
    """The arguments of expand.py, with nothing left open."""
    data: Path
    categories: tuple[str, ...] | None
    good: str | None
    weights: str
    method: str
    hyperparameters: str
    masks: Path | None
    boxes: Path | None
    number: int
    iterations: int
    networks: tuple[str, ...]
    steps: int
    side: int
    seeds: int
    budget: float | None  # seconds
    dry_run: bool
    seed: int
    device: str
    all_categories: tuple[str, ...]

    @property
    def is_small(self) -> bool:
        """Whether the prior is the small one."""
        return is_nano(self.weights)

    @property
    def has_inception(self) -> bool:
        """Whether images are scored by FID, and not by FD-nano."""
        return not self.is_small and has_inception_weights(WEIGHTS)

    @property
    def composes(self) -> bool:
        """Whether images are composed."""
        return self.method == "compose" or (self.method == "auto" and self.good is not None)

    @property
    def generated(self) -> tuple[str, ...]:
        """The classes that images are made for."""
        return tuple(name for name in self.categories or self.all_categories if name != self.good)

    @property
    def real_only(self) -> tuple[str, ...]:
        """The others."""
        return tuple(name for name in self.all_categories if name not in self.generated)


def resolve(data: Path, categories: tuple[str, ...] | None, good: str | None, weights: Path | str | None,
            number: int | None, iterations: int | None, **others: Any) -> ExpandSettings:
    """Find the classes, and take what was left open from the weights. Raises UserError for classes that are not there.

    others  the other fields of ExpandSettings, but for all_categories
    """
    there = tuple(folder.resolve().name for folder in list_categories(data))
    for name in (*(categories or ()), *((good,) if good else ())):
        if name not in there:
            raise UserError(f"{data} has no class {name}: it has {', '.join(there)}.")
    weights = str(weights or default_weights()[0])
    usual = (SMALL_NUMBER, SMALL_ITERATIONS) if is_nano(weights) else (PAPER_NUMBER, PAPER_ITERATIONS)
    settings = ExpandSettings(data=data, categories=categories, good=good, weights=weights, number=number or usual[0],
                              iterations=iterations or usual[1], all_categories=there, **others)
    if not settings.generated:
        raise UserError(f"--good {good} leaves no class to generate: name others with --categories.")
    require_marks(settings)
    return settings


def require_marks(settings: ExpandSettings) -> None:
    """Raise UserError if given masks or boxes are of no use, or if a class has none."""
    if settings.masks and settings.boxes:
        raise UserError("--masks and --boxes both say where the defects are: pass one of them.")
    if marks := settings.masks or settings.boxes:
        if not settings.composes:
            raise UserError("--masks and --boxes belong to composites: pass --method compose, or --good, too.")
        if missing := [name for name in settings.generated if not (marks / name).is_dir()]:
            raise UserError(f"{marks} has no folder {missing[0]}: it needs one for each class that images are made of.")


def is_nano(weights: str) -> bool:
    """Whether the weights are those of the small prior."""
    return Path(weights).resolve() == NANO.resolve()
