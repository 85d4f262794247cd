"""What is kept of an arm's result, and how the results of two arms are compared.

    NETWORK-NAME-AMOUNT.json            a result, with its summary and its verdicts against the others in the folder
    results.csv                         one line for each seed of every result in the folder
    confusion-NETWORK-NAME-AMOUNT.csv   counts[true][predicted], all seeds together
"""
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..storage.errors import UserError
from ..storage.files import read_csv, read_json, sha256, write_csv, write_json
from ..storage.settings import changed_settings
from .arms import CONTROLS, FilesByClass
from .significance import Accuracy, compare, holm, interval, verdict

RESULT_COLUMNS = ("network", "name", "alpha", "per_class", "split", "arm", "seed", "epochs", "steps", "n_real",
                  "n_generated", "best_epoch", "val_accuracy", "test_accuracy")
ONE_RESULT = RESULT_COLUMNS[:5]  # columns that tell the results of a folder apart
FREE_ARGUMENTS = ("seeds", "resume", "out")  # of classify.py: a result does not depend on them
FREE_FIELDS = ("n_extra", "unseen", "rows", "correct", "confusion", "summary", "verdicts", "arguments")  # of the JSON
UNEQUAL_STEPS = 1.2  # ratio of optimiser steps from which on a verdict mentions it


@dataclass(frozen=True)
class Setup:
    """What a result follows from, besides its seeds."""
    network: str
    arm: str
    name: str  # what the result is called: the arm, unless --name says otherwise
    alpha: float
    per_class: int | None
    split: str  # "group" or "random"
    classes: list[str]
    origin_unknown: bool  # whether nothing is written down of what made some of the generated images
    pretrained_sha256: str | None
    device: str | None  # None where an earlier version did not write it down; so with dtype
    dtype: str | None
    test_files: list[str]
    test_groups: list[str]  # the surface of each test image
    held_out_sha256: str  # of all validation and test images
    images_sha256: str  # of all training images and generated images
    arguments: dict[str, Any]  # of classify.py

    @property
    def stem(self) -> str:
        """How the names of its files begin."""
        amount = f"{self.per_class}-a-class" if self.per_class else f"{self.alpha:g}"
        return f"{self.network}-{self.name}-{amount}" + ("-random" if self.split == "random" else "")


@dataclass(frozen=True)
class SeedResult:
    """One training and its test."""
    seed: int
    epochs: int  # that were run
    steps: int  # of the optimiser
    n_real: int
    n_generated: int  # images that are not real, or are seen again
    best_epoch: int  # the one that was tested, by the validation part
    val_accuracy: float
    test_accuracy: float
    correct: list[int]  # for each test image: 1 right, 0 wrong
    confusion: list[list[int]]  # counts[true][predicted] of test images


@dataclass(frozen=True)
class Result:
    """The trainings of one arm with seeds 0, 1, .."""
    setup: Setup
    seeds: tuple[SeedResult, ...] = ()
    n_extra: int = 0  # images that the arm adds to the real ones
    unseen: int = 0  # real images that the generator has seen and this arm's networks have not, of the worst seed

    @property
    def name(self) -> str:
        """What it is called."""
        return self.setup.name

    @property
    def correct(self) -> list[list[int]]:
        """The table (seeds, test images) that significance.py reads."""
        return [one.correct for one in self.seeds]

    @property
    def confusion(self) -> NDArray:
        """counts[true][predicted] of all seeds."""
        return np.array([one.confusion for one in self.seeds]).sum(axis=0)

    @property
    def mean_steps(self) -> float:
        """Optimiser steps of a training, mean over seeds."""
        return mean(one.steps for one in self.seeds)

    def add(self, one: SeedResult, n_extra: int, unseen: int) -> "Result":
        """The result with one more seed."""
        return Result(self.setup, (*self.seeds, one), n_extra, max(self.unseen, unseen))


def images_sha256(*parts: FilesByClass) -> str:
    """The SHA-256 of all images of all parts, in their order."""
    digests = [sha256(file) for part in parts for files in part for file in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


# ---- files ------------------------------------------------------------------------------------------------------


def row_of(setup: Setup, one: SeedResult) -> dict[str, Any]:
    """A line of results.csv."""
    of_setup = {**vars(setup), "per_class": setup.per_class or ""}
    of_seed = {**vars(one), "val_accuracy": f"{one.val_accuracy:.6f}", "test_accuracy": f"{one.test_accuracy:.6f}"}
    return {column: (of_seed if column in of_seed else of_setup)[column] for column in RESULT_COLUMNS}


def to_json(result: Result) -> dict[str, Any]:
    """As it lies on disk, without summary and verdicts."""
    setup = {name: value for name, value in vars(result.setup).items() if name not in ("split", "arguments")}
    return {**setup, "n_extra": result.n_extra, "unseen": result.unseen, "arguments": result.setup.arguments,
            "rows": [row_of(result.setup, one) for one in result.seeds], "correct": result.correct,
            "confusion": [one.confusion for one in result.seeds]}


def from_json(record: Mapping[str, Any]) -> Result:
    """The result that a file holds. What earlier versions did not write down is None or False."""
    rows = record["rows"]
    known = {**record, "split": rows[0]["split"], "origin_unknown": record.get("origin_unknown", False)}
    of_setup: dict[str, Any] = {field.name: known.get(field.name) for field in dataclasses.fields(Setup)}
    seeds = []
    for row, correct, confusion in zip(rows, record["correct"], record["confusion"]):
        counts = {column: row[column] for column in ("seed", "epochs", "steps", "n_real", "n_generated", "best_epoch")}
        seeds.append(SeedResult(**counts, val_accuracy=float(row["val_accuracy"]), correct=correct,
                                test_accuracy=float(row["test_accuracy"]), confusion=confusion))
    return Result(Setup(**of_setup), tuple(seeds), record["n_extra"], record["unseen"])


def read_results(folder: Path, pattern: str = "*.json") -> list[Result]:
    """The results in a folder, sorted by file name."""
    return [from_json(read_json(file)) for file in sorted(folder.glob(pattern))]


def earlier_seeds(out: Path, setup: Setup, resume: bool) -> Result:
    """What an earlier call with the same settings and images has left in `out` if `resume`, else no seed.

    Raises UserError if the earlier result had other settings or images. Without `resume`, it will be replaced, and a
    line says so.
    """
    file = out / f"{setup.stem}.json"
    if not file.is_file():
        return Result(setup)
    before = read_json(file)
    changed = changed_settings(depends_on(before), depends_on(to_json(Result(setup))))
    said = f"{file} was made with other settings or images ({'; '.join(changed)})"
    if changed and resume:
        raise UserError(f"{said}: leave out --resume to make it anew, or give this result a --name of its own.")
    if changed:
        print(f"{said} and will be replaced; --name NAME keeps both")
    return dataclasses.replace(from_json(before), setup=setup) if resume else Result(setup)


def depends_on(record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings and images that a result, as it lies on disk, follows from."""
    return {k: v for k, v in {**record["arguments"], **record}.items() if k not in (*FREE_FIELDS, *FREE_ARGUMENTS)}


def save_result(out: Path, result: Result) -> list[str]:
    """Write the result's files into the folder `out`. Returns a sentence for each result that it is compared with."""
    stem, classes = result.setup.stem, result.setup.classes
    verdicts = compare_with_all(result, read_results(out, f"{result.setup.network}-*.json"))
    write_json(out / f"{stem}.json", to_json(result) | {"summary": summarise(result), "verdicts": verdicts})
    file, rows = out / "results.csv", [row_of(result.setup, one) for one in result.seeds]
    own = {column: str(rows[0][column]) for column in ONE_RESULT}
    before = read_csv(file) if file.is_file() else []
    others = [row for row in before if any(row.get(column) != own[column] for column in ONE_RESULT)]
    write_csv(file, RESULT_COLUMNS, [[row.get(column, "") for column in RESULT_COLUMNS] for row in others + rows])
    write_csv(out / f"confusion-{stem}.csv", ["true \\ predicted", *classes],
              [[name, *counts] for name, counts in zip(classes, result.confusion.tolist())])
    return [found["sentence"] for found in verdicts]


# ---- summary ----------------------------------------------------------------------------------------------------


def accuracy(result: Result) -> Accuracy:
    """Of the test images, over all seeds."""
    return interval(result.correct, result.setup.test_groups)


def accuracy_by_class(result: Result) -> dict[str, float]:
    """The share of each class's test images that is recognised, over all seeds."""
    counts = result.confusion
    shares = counts.diagonal() / counts.sum(axis=1).clip(min=1)
    return dict(zip(result.setup.classes, shares.tolist()))


def summarise(result: Result) -> dict[str, Any]:
    """Mean, sd, low, high and by_class, as they lie on disk."""
    return {**vars(accuracy(result)), "by_class": accuracy_by_class(result)}


def summary_line(result: Result) -> str:
    """Accuracy with its interval, and each class's, in words."""
    found, n_seeds, setup = accuracy(result), len(result.seeds), result.setup
    spread = f" +- {found.sd:.4f} (sd of {n_seeds} seeds)" if n_seeds > 1 else ""
    of_one = "of this one training " if n_seeds == 1 else ""
    classes = ", ".join(f"{name} {share:.3f}" for name, share in accuracy_by_class(result).items())
    return (f"{result.name}: test accuracy {found.mean:.4f}{spread}, 95 % interval {of_one}{found.low:.3f} to "
            f"{found.high:.3f} ({len(setup.test_files)} images of {len(set(setup.test_groups))} surfaces); "
            f"by class: {classes}")


# ---- two results ------------------------------------------------------------------------------------------------


def comparable(a: Result, b: Result) -> bool:
    """Whether two results differ in the training images that their arms say, and in nothing else."""
    return a.name != b.name and same_training(a.setup, b.setup) and same_amount_added(a, b)


def same_training(a: Setup, b: Setup) -> bool:
    """Whether networks, real images, held-out images and training are the same."""
    return (all(getattr(a, k) == getattr(b, k) for k in ("network", "alpha", "per_class", "held_out_sha256", "dtype",
                                                         "pretrained_sha256"))
            and all(a.arguments[k] == b.arguments[k] for k in ("epochs", "patience")))


def same_amount_added(a: Result, b: Result) -> bool:
    """Whether a control adds as many images as the arm that it is a control of. Other pairs need not."""
    arms = {a.setup.arm, b.setup.arm}
    if not arms & set(CONTROLS) or arms & {"none", "synthetic", "substitute"}:
        return True
    return a.n_extra == b.n_extra


def compare_with_all(result: Result, others: Iterable[Result]) -> list[dict[str, Any]]:
    """The comparison of `result` with each comparable one of `others`, as it lies on disk.

    Each has against, difference, low, high, p, seeds, adjusted_p and sentence. Where there are several, Holm's adjusted
    p decides what the sentence says.
    """
    others = [other for other in others if comparable(result, other)]
    found = [compare(result.correct, other.correct, result.setup.test_groups) for other in others]
    adjusted = holm([comparison.p for comparison in found])
    verdicts = []
    for other, comparison, p in zip(others, found, adjusted):
        sentence = verdict(result.name, other.name, comparison, p if len(found) > 1 else None)
        sentence += "".join(advantages(result, other) + advantages(other, result))
        verdicts.append({"against": other.name, **vars(comparison), "adjusted_p": p, "sentence": sentence})
    return verdicts


def advantages(one: Result, other: Result) -> list[str]:
    """What `one` had, and `other` had not, besides what its name says. Each is a sentence after a blank."""
    said = []
    ratio = one.mean_steps / other.mean_steps
    if ratio > UNEQUAL_STEPS and one.setup.arm != "steps":
        equal = "" if one.setup.arguments["patience"] else "; --control steps makes that equal"
        said.append(f" {one.name} took {ratio:.1f} times as many optimiser steps{equal}.")
    if one.unseen and not other.unseen:
        said.append(f" What made the images of {one.name} has seen {one.unseen} real images that {other.name} has not: "
                    "no fair comparison.")
    if one.setup.origin_unknown:
        said.append(f" Nothing tells whether what made the images of {one.name} has seen images of the test.")
    return said
