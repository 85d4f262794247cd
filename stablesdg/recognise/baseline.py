"""Do you need generated images? What a data set tells before any network is trained.

    plan = plan_data(audit, features=None, device="cpu")
    print(plan.advice.headline)

Three kinds of classifier are fitted in closed form or to one optimum: a linear one on nano's frozen features, another
one on those of a network that has seen photographs, where there is one, and one on a descriptor that needs no network.
They show what can be recognised without generated images, and how that grows with the number of real ones.

The test part is not looked at. The figures come from training and validation part by cross-validation over surfaces.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.audit import Audit
from ..data.descriptor import describe
from ..data.images import read_image
from ..data.surfaces import category_of
from ..evaluate.extract import cached_features
from ..storage.errors import UserError
from .advice import DESCRIPTOR, Advice, Findings, advise, frozen_classifier
from .backbones import open_extractors
from .costs import StageCost, nano_costs, stable_diffusion_costs
from .discriminant import fit_discriminant
from .learning_curve import Classifier, Labelled, LearningCurve, draw_images, learning_curve
from .power import independent_images, smallest_gain
from .probe import assign_folds, fit_probe

MOST_IMAGES = 1200  # that the curves are measured on, drawn evenly from all classes: it bounds the minutes
MOST_PIXELS = 80_000_000  # of these images together
MANY_TO_FIT = 400  # images: with more, one fold of them is enough to choose the penalty by
LEAST_PER_CLASS = 20  # images, however many classes there are and however large they are
DESCRIPTOR_KEY = "descriptor-v1"  # in the cache of features
ERRORS_SHOWN = (0.05, 0.1, 0.2)  # for which the smallest gain is given


@dataclass(frozen=True)
class DetectableGain:
    """The smallest gain that the test part can show, at some error of the weaker network."""
    error: float
    gain: float


@dataclass(frozen=True)
class TestPart:
    """What the test part can decide."""
    images: int
    surfaces: int
    likeness: float  # correlation of two images of one surface, as in the best curve's errors
    independent: float  # images that would be as certain
    gains: list[DetectableGain]  # the first at the error of the best curve


@dataclass(frozen=True)
class Plan:
    """All that is said before anything is trained."""
    audit: Audit
    images: int  # that the curves were measured on
    images_left_out: int  # to save time
    curves: list[LearningCurve]
    test: TestPart
    nano: list[StageCost]  # of a class, on this machine
    stable_diffusion: list[StageCost]
    advice: Advice

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        parts = ("advice", "test", "nano", "stable_diffusion")
        return {"headline": self.advice.headline, "frozen": frozen_classifier(self.curves),
                "audit": self.audit.as_json(), "images": self.images, "images_left_out": self.images_left_out,
                "curves": [asdict(curve) for curve in self.curves],
                **{part: [asdict(one) for one in value] if isinstance(value, list) else asdict(value)
                   for part in parts for value in [getattr(self, part)]}}


def plan_data(audit: Audit, features: Path | None = None, device: torch.device | str = "cpu",
              dtype: torch.dtype = torch.float32,
              say: Callable[[str], None] = lambda text: None) -> Plan:
    """Measure the baselines of an audited data set and recommend what to do.

    features  a state dict of torchvision, whose network takes the place of ImageNet's
    dtype     of the UNet, for the minutes of each stage
    say       is told what is done next

    Raises UserError if the training and validation part have a class with no images, or only one class.
    """
    names, images = choose_images(audit)
    files = [audit.files[name] for name in names]
    fold = assign_folds(images.y.tolist(), images.groups).numpy()
    if fold.max() == 0:
        raise UserError(f"{audit.data} shows one surface of each class: nothing can be held out. Photograph "
                        "others. If it is a pattern that repeats in different pieces, say so by python -m "
                        "stablesdg.split --split random --replace.")
    curves = []
    for extractor in open_extractors(features, device):
        say(f"features of {extractor.kind}, {len(files)} images")
        x = extractor.of_files(files, progress=extractor.kind)
        say(f"learning curve on features of {extractor.kind}")
        curves.append(learning_curve(extractor.kind, probe_classifier(x, images), images, fold))
    say("learning curve on the descriptor")
    curves.append(learning_curve(DESCRIPTOR, descriptor_classifier(files, images), images, fold))
    say("timing of a few steps")
    known = audit.names("train", "val")
    sizes = [(facts.width, facts.height) for facts in map(audit.inventory.files.__getitem__, known)]
    width, height = (median_low(side) for side in zip(*sizes))
    test = describe_test_part(audit, max(curves, key=lambda curve: curve.best.balanced))
    advice = advise(Findings(
        curves, {k: len({audit.groups[name] for name in known if category_of(name) == k}) for k in audit.classes},
        Counter(map(category_of, known)), test.surfaces, test.gains[0].gain if test.gains else float("inf")))
    return Plan(audit, len(names), len(known) - len(names), curves, test,
                nano_costs(width, height, torch.device(device), dtype), stable_diffusion_costs(), advice)


def choose_images(audit: Audit) -> tuple[list[str], Labelled]:
    """The images that curves are measured on: those of training and validation part, at most MOST_IMAGES
    and MOST_PIXELS.

    Raises UserError if there is one class only, or one without images.
    """
    classes = list(audit.classes)
    if len(classes) < 2:
        raise UserError(f"{audit.data} has one class: there is nothing to tell apart. --audit-only looks for overlaps.")
    names = audit.names("train", "val")
    y = np.array([classes.index(category_of(name)) for name in names])
    if missing := [k for i, k in enumerate(classes) if not (y == i).any()]:
        raise UserError(f"{missing[0]} has no image in the training and validation part: make another split.")
    pixels = sum(audit.inventory.files[name].width * audit.inventory.files[name].height for name in names)
    most = max(LEAST_PER_CLASS, int(min(MOST_IMAGES, MOST_PIXELS * len(names) / pixels)) // len(classes))
    kept = draw_images(y, np.ones(len(y), dtype=bool), most, draw=0)
    names = [names[i] for i in kept]
    return names, Labelled(y[kept], [audit.groups[name] for name in names], classes)


def describe_test_part(audit: Audit, best: LearningCurve) -> TestPart:
    """What the test part can show, from the numbers of images on its surfaces alone."""
    sizes = audit.surface_sizes("test")
    errors = (1 - best.best.accuracy, *ERRORS_SHOWN)
    return TestPart(sum(sizes), len(sizes), best.likeness, independent_images(sizes, best.likeness) if sizes else 0.0,
                    [DetectableGain(error, smallest_gain(error, sizes, best.likeness))
                     for error in errors if len(sizes) > 1])


# ---- classifiers ------------------------------------------------------------------------------------------------


def probe_classifier(x: Tensor, images: Labelled) -> Classifier:
    """Logistic regression on features x (N, d).

    The penalty on weights is chosen within the first of several training sets. The others, which differ by chance
    alone, take the same one.
    """
    y = torch.from_numpy(images.y)

    def classify(training: Sequence[NDArray], held_out: NDArray) -> list[NDArray]:
        penalty, predicted = choose_penalty(x, images, training[0]), []
        for own in training:
            probe = fit_probe(x[own], y[own], len(images.classes), penalties=[penalty])
            predicted.append(probe.logits(x[held_out]).argmax(dim=1).numpy())
        return predicted

    return classify


def choose_penalty(x: Tensor, images: Labelled, own: NDArray) -> float:
    """The penalty of a probe on the images `own` of all, by cross-validation over surfaces within them.

    Of many images, one fold is left out and no other. Where each class has one surface, images take its place.
    """
    y, groups, classes = torch.from_numpy(images.y[own]), [images.groups[int(i)] for i in own], len(images.classes)
    fold = assign_folds(y.tolist(), groups).numpy()
    if len(own) > MANY_TO_FIT and fold.max() > 0:
        kept, left_out = own[fold != 0], own[fold == 0]
        return fit_probe(x[kept], y[fold != 0], classes, validation=(x[left_out], y[fold == 0])).penalty
    return fit_probe(x[own], y, classes, groups=groups if fold.max() > 0 else None).penalty


def descriptor_classifier(files: Sequence[Path], images: Labelled) -> Classifier:
    """Linear discriminant analysis on the descriptors of image files."""
    x = read_descriptors(files)

    def classify(training: Sequence[NDArray], held_out: NDArray) -> list[NDArray]:
        return [fit_discriminant(x[own], images.y[own], len(images.classes)).predict(x[held_out]) for own in training]

    return classify


def read_descriptors(files: Sequence[Path]) -> NDArray:
    """(N, 56) float64. Those of files seen before come from disk."""
    def of(missing: Sequence[Path]) -> Any:
        return (torch.from_numpy(describe(np.asarray(read_image(file)[0].convert("L"))))[None] for file in missing)

    return cached_features(files, of, DESCRIPTOR_KEY).double().numpy()
