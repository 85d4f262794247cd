"""A filter with two sides: which generated images are neither copies nor without their defect?

    copy           novelty below COPY_NOVELTY: the image is nearly a training image (novelty.py)
    strange        novelty above STRANGE_NOVELTY: it is like nothing real. Beside evidence this is needed, because a
                   linear classifier must call noise something, and can be sure of it
    evidence gone  a classifier that is fitted to real images sees less of the image's class in it than in nearly all
                   real images. The floor is the EVIDENCE_QUANTILE of the probabilities that real images have for their
                   own class. Each of these comes from a classifier that has not seen the image (out of fold), so that
                   they say how sure it is of new images
    not judged     the image is kept, since it is neither copy nor strange; but that classifier recognises less than
                   LEAST_RECALL of the class's real images out of fold, and so cannot say whether the defect is there
"""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..storage.files import read_csv
from .novelty import COPY_NOVELTY, STRANGE_NOVELTY

EVIDENCE_QUANTILE = 0.02  # of real images would be dropped, too
LEAST_RECALL = 0.5
KEPT, COPY, STRANGE, EVIDENCE_GONE, NOT_JUDGED = REASONS = ("kept", "copy", "strange", "evidence gone", "not judged")
USED = (KEPT, NOT_JUDGED)  # for training


@dataclass(frozen=True)
class ImageVerdict:
    """What the filter says of one generated image."""
    file: Path
    novelty: float
    evidence: float  # the probability of its own class
    reason: str  # one of REASONS


def evidence_floor(own: Tensor, quantile: float = EVIDENCE_QUANTILE) -> float:
    """The least evidence of an image that is kept. own (N,): what real images have for their own class, out of fold."""
    return float(torch.quantile(own.double(), quantile))


def filter_images(files: Sequence[Path], novelty: Sequence[float], evidence: Sequence[float],
                  floor: float | None) -> list[ImageVerdict]:
    """The verdicts on generated images. `novelty` and `evidence` have a number for each.

    floor  of the evidence, or None if what gave the evidence does not know the class
    """
    return [ImageVerdict(file, new, seen, reason_of(new, seen, floor))
            for file, new, seen in zip(files, novelty, evidence)]


def reason_of(novelty: float, evidence: float, floor: float | None) -> str:
    """The reason of one image's verdict. For `floor`, see `filter_images`."""
    if novelty < COPY_NOVELTY:
        return COPY
    if novelty > STRANGE_NOVELTY:
        return STRANGE
    if floor is None:
        return NOT_JUDGED
    return EVIDENCE_GONE if evidence < floor else KEPT


def read_novelty(files: Sequence[Path]) -> list[float | None]:
    """The novelty of each file by the manifest.csv in its folder. None where that does not say."""
    said: dict[Path, str] = {}
    for folder in {file.parent for file in files}:
        if (folder / "manifest.csv").is_file():
            rows = read_csv(folder / "manifest.csv")
            said |= {folder / row["file"]: row["novelty"] for row in rows if row.get("novelty")}
    return [float(said[file]) if file in said else None for file in files]


def count_reasons(verdicts: Sequence[ImageVerdict]) -> str:
    """How many images have each verdict: "10 kept, 1 copy, 0 strange, 2 evidence gone, 0 not judged and kept"."""
    return ", ".join(f"{sum(one.reason == reason for one in verdicts)} {reason}" + " and kept" * (reason == NOT_JUDGED)
                     for reason in REASONS)
