"""A teacher: the probe on frozen features, fitted to the real images that a seed draws, labels a network's images.

The probe knows the images that it was fitted to too well: its labels for them would be nearly hard. So real images get
the labels of a probe that has seen no image of their surface (cross-fitting): the surfaces are dealt into FOLDS folds,
and each fold is labelled by a probe that is fitted to the others. Only the penalty, one number, is chosen on all.
Generated images are labelled by the probe that is fitted to all real ones.

A class whose images show one surface has no other images to learn it from. Its images keep their hard labels.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..evaluate.extract import FeatureExtractor
from ..evaluate.filter import LEAST_RECALL, ImageVerdict, evidence_floor, filter_images, read_novelty
from ..evaluate.neighbours import nearest
from ..evaluate.novelty import novelty_unit
from ..storage.errors import UserError
from .arms import FilesByClass, as_tensors
from .probe import Probe, assign_folds, fit_probe
from .targets import TEMPERATURE


@dataclass(frozen=True)
class Teacher:
    """A probe, and what it says of the real images without having seen their surface."""
    extractor: FeatureExtractor
    probe: Probe  # fitted to all real images
    row: Mapping[Path, int]  # of each real image in what follows
    features: Tensor  # (N, d)
    y: Tensor  # classes (N,)
    surface: Sequence[str]  # of each image
    logits: Tensor  # (N, classes), out of fold
    known: Tensor  # (N,) whether the class is known outside the image's fold

    def recalls(self) -> Tensor:
        """The share (classes,) of each class's real images that a probe recognises which has not seen their surface."""
        right = (self.logits.argmax(dim=1) == self.y) & self.known
        classes = self.logits.shape[1]
        return torch.bincount(self.y[right], minlength=classes) / torch.bincount(self.y, minlength=classes)

    def label(self, files: Sequence[Path], temperature: float = TEMPERATURE) -> Tensor:
        """Soft labels (M, classes) of image files, real or generated, at a temperature."""
        classes = self.logits.shape[1]
        labels = torch.zeros(len(files), classes, dtype=torch.float64)
        real = [i for i, file in enumerate(files) if file in self.row]
        rows = torch.tensor([self.row[files[i]] for i in real], dtype=torch.long)
        soft = (self.logits[rows] / temperature).softmax(dim=1)
        labels[real] = torch.where(self.known[rows, None], soft, F.one_hot(self.y[rows], classes).double())
        if other := [i for i, file in enumerate(files) if file not in self.row]:
            features = self.extractor.of_files([files[i] for i in other], progress="teacher")
            labels[other] = self.probe.probabilities(features, temperature)
        return labels


def fit_teacher(real: FilesByClass, surface_of: Mapping[Path, str], extractor: FeatureExtractor) -> Teacher:
    """The teacher of the real images of each class. `surface_of` names the surface that each file shows."""
    files = [file for own in real for file in own]
    features, y = as_tensors(real, lambda own: extractor.of_files(own, progress="teacher"))
    surface, classes = [surface_of[file] for file in files], len(real)
    fold = assign_folds(y.tolist(), surface)
    if len(fold.unique()) < 2:
        raise UserError("A teacher needs a class whose training images show two surfaces or more, so that it can be "
                        "fitted without the image that it labels: use more images, or leave out --teacher and "
                        "--filter.")
    probe = fit_probe(features, y, classes, groups=surface)
    logits, known = out_of_fold(features, y, fold, classes, probe.penalty)
    return Teacher(extractor, probe, {file: i for i, file in enumerate(files)}, features, y, surface, logits, known)


def out_of_fold(x: Tensor, y: Tensor, fold: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """(logits (N, classes), known (N,)) of features x (N, d), each from a probe fitted to the other folds.

    Known is an image whose class has images in the other folds.
    """
    logits = torch.zeros(len(x), classes, dtype=torch.float64)
    known = torch.zeros(len(x), dtype=torch.bool)
    for k in fold.unique():
        out = fold == k
        logits[out] = fit_probe(x[~out], y[~out], classes, penalties=[penalty]).logits(x[out])
        known[out] = torch.isin(y[out], y[~out])
    return logits, known


# ---- the filter of generated images -----------------------------------------------------------------------------


def filter_generated(teacher: Teacher, generated: FilesByClass) -> list[list[ImageVerdict]]:
    """For each class, which of its generated images are of use: see evaluate/filter.py.

    An image's novelty is what its manifest says, or else it is measured against the teacher's real images.
    """
    own = teacher.logits.softmax(dim=1)[torch.arange(len(teacher.y)), teacher.y]
    knows = teacher.recalls() >= LEAST_RECALL  # (classes,)
    judged = own[teacher.known & knows[teacher.y]]
    floor = evidence_floor(judged) if len(judged) else None
    verdicts = []
    for k, files in enumerate(generated):
        if not files:
            verdicts.append([])
            continue
        features = teacher.extractor.of_files(list(files), progress="filter")
        evidence = teacher.probe.probabilities(features)[:, k]
        novelty = read_novelty(files)
        if None in novelty:
            measured = measure_novelty(teacher, k, features)
            novelty = [value if said is None else said for said, value in zip(novelty, measured)]
        verdicts.append(filter_images(files, [float(v) for v in novelty if v is not None], evidence.tolist(),
                                      floor if knows[k] else None))
    return verdicts


def measure_novelty(teacher: Teacher, k: int, features: Tensor) -> list[float]:
    """The novelty of features (M, d) against the real images of class k, in the unit of evaluate/novelty.py."""
    rows = (teacher.y == k).nonzero()[:, 0]
    training = teacher.features[rows]
    unit = novelty_unit(training, [teacher.surface[int(i)] for i in rows])
    return (nearest(features, training)[0] / unit).tolist()
