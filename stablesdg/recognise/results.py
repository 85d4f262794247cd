"""What is kept of an arm's result.

    NETWORK-NAME-AMOUNT.json            a result and its summary
    results.csv                         one line for each seed of every result in the folder
    confusion-NETWORK-NAME-AMOUNT.csv   counts[true][predicted], mean over seeds
    hard-NETWORK-NAME-AMOUNT.csv        weights of the training images, for --hard
    filter.csv                          with --filter: a line for each generated image of each seed

Verdicts against other results are not kept: verdicts.py computes them when they are shown. Files of the first edition
hold some, which are not read.
"""
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.window import window_note
from ..evaluate.filter import ImageVerdict
from ..storage.errors import UserError
from ..storage.files import read_csv, read_json, sha256, write_csv, write_json
from ..storage.settings import changed_settings
from .arms import FilesByClass
from .frozen import FROZEN, probe_features
from .per_class import balanced_accuracy, macro_f1, recalls, scores_in_words
from .significance import Accuracy, interval

RESULT_COLUMNS = ("network", "name", "alpha", "per_class", "split", "arm", "seed", "epochs", "steps", "n_real",
                  "n_generated", "best_epoch", "val_accuracy", "test_accuracy", "balanced_accuracy", "macro_f1")
SHARES = RESULT_COLUMNS[-4:]  # columns that are written with six digits
ONE_RESULT = RESULT_COLUMNS[:5]  # columns that tell the results of a folder apart
FILTER_COLUMNS = ("name", "seed", "file", "novelty", "evidence", "verdict")
FREE_ARGUMENTS = ("seeds", "resume", "replace", "out", "verdicts", "predict", "evaluate", "threshold", "model", "onnx",
                  # paths, and the split that is asked for: the SHA-256 of all images say what they lead to
                  "data", "generated", "pretrained", "hard", "split")  # of classify.py: no result depends on them
DEFAULT_ARGUMENTS = {  # of classify.py, where an earlier version did not write them down
    "steps": None, "augment": "paper", "upright": False, "side": 200, "average": False, "balanced": False,
    "share": None, "generated_weight": 1.0, "finish_real": 0.0, "pretrain_generated": False, "teacher": None,
    "imitate": None, "mix": None, "filter": None, "real_only": []}
IN_WORDS = {"test_files": "the test images", "test_groups": "the surfaces of the test images",
            "held_out_sha256": "the validation or test images", "images_sha256": "the training or generated images"}
FREE_FIELDS = ("n_extra", "unseen", "rows", "correct", "confusion", "summary", "verdicts", "arguments",  # of the JSON
               "training_sha256")  # images_sha256 holds these images, too


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
    features: str | None = None  # key of the frozen features that had a part in it, by their weights
    hard_sha256: str | None = None  # of the file of --hard
    training_sha256: str | None = None  # of all real training images; None where an earlier version did not write it

    @property
    def all_arguments(self) -> dict[str, Any]:
        """The arguments, with those that an earlier version did not write down."""
        return {**DEFAULT_ARGUMENTS, **self.arguments}

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

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes."""
        return balanced_accuracy(self.confusion)

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes."""
        return macro_f1(self.confusion)


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
        """counts[true][predicted], mean over seeds."""
        return np.mean([one.confusion for one in self.seeds], axis=0)

    @property
    def mean_steps(self) -> float:
        """Optimiser steps of a training, mean over seeds."""
        return mean(one.steps for one in self.seeds)

    @property
    def needs_no_seeds(self) -> bool:
        """Whether each seed would give the same: frozen features, of all images that there are."""
        setup = self.setup
        return (setup.network in FROZEN and setup.alpha == 1 and not setup.per_class
                and not setup.arguments.get("number") and setup.arm in ("none", "expand", "synthetic"))

    def add(self, one: SeedResult, n_extra: int, unseen: int) -> "Result":
        """The result with one more seed."""
        return Result(self.setup, (*self.seeds, one), n_extra, max(self.unseen, unseen))


def images_sha256(*parts: FilesByClass) -> str:
    """The SHA-256 of all images of all parts, in their order, and of how 16-bit ones are read."""
    digests = [sha256(file) + window_note(file) for part in parts for files in part for file in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


# ---- files ------------------------------------------------------------------------------------------------------


def row_of(setup: Setup, one: SeedResult) -> dict[str, Any]:
    """A line of results.csv."""
    of_setup = {**vars(setup), "per_class": setup.per_class or ""}
    of_seed = {**vars(one), **{column: f"{getattr(one, column):.6f}" for column in SHARES}}
    return {column: (of_seed if column in of_seed else of_setup)[column] for column in RESULT_COLUMNS}


def to_json(result: Result) -> dict[str, Any]:
    """As it lies on disk, without its summary."""
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
    """The results in a folder, sorted by file name. JSON files of other kinds are passed over."""
    records = [read_json(file) for file in sorted(folder.glob(pattern))]
    return [from_json(record) for record in records if isinstance(record, dict) and record.get("rows")]


def earlier_seeds(out: Path, setup: Setup, seeds: int, resume: bool, replace: bool) -> Result:
    """What an earlier call with the same settings and images has left in `out` if `resume`, else no seed.

    Raises UserError if there is a result of other settings or images, or of more seeds, that this call would replace,
    unless `replace` allows it.
    """
    file = out / f"{setup.stem}.json"
    if not file.is_file() or replace:
        return Result(setup)
    before = read_json(file)
    finished = len(before["rows"])
    exists = f"{file} holds a result of {finished} seed{'s' * (finished != 1)} and {before['rows'][0]['epochs']} epochs"
    if changed := changed_settings(depends_on(before), depends_on(to_json(Result(setup)))):
        said = "; ".join(IN_WORDS.get(name, name) for name in changed)
        raise UserError(f"{exists}, made with other settings or images ({said}): pass --replace to train "
                        "it anew, or --name NAME to keep both" + (", without --resume." if resume else "."))
    if resume:
        return dataclasses.replace(from_json(before), setup=setup)
    if finished > seeds:
        raise UserError(f"{exists}, more than --seeds {seeds}: pass --replace to train it anew, or --name NAME to keep "
                        "both.")
    print(f"{exists} with the same settings and images: its seeds are trained again; --resume would keep them")
    return Result(setup)


def depends_on(record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings and images that a result, as it lies on disk, follows from."""
    everything = {**DEFAULT_ARGUMENTS, "hard_sha256": None, **record["arguments"], **record}
    if isinstance(everything["filter"], bool):  # before it named its features
        everything["filter"] = (probe_features(everything["network"], everything["teacher"]) if everything["filter"]
                                else None)
    return {k: v for k, v in everything.items() if k not in (*FREE_FIELDS, *FREE_ARGUMENTS)}


def save_result(out: Path, result: Result) -> None:
    """Write the result's files into the folder `out`."""
    stem, classes, n_seeds = result.setup.stem, result.setup.classes, len(result.seeds)
    write_json(out / f"{stem}.json", to_json(result) | {"summary": summarise(result)})
    file, rows = out / "results.csv", [row_of(result.setup, one) for one in result.seeds]
    own = {column: str(rows[0][column]) for column in ONE_RESULT}
    before = read_csv(file) if file.is_file() else []
    others = [row for row in before if any(row.get(column) != own[column] for column in ONE_RESULT)]
    write_csv(file, RESULT_COLUMNS, [[row.get(column, "") for column in RESULT_COLUMNS] for row in others + rows])
    write_confusion(out / f"confusion-{stem}.csv", result.confusion, classes, n_seeds)


def save_filtered(out: Path, name: str, seed: int, verdicts: Sequence[Sequence[ImageVerdict]]) -> None:
    """Write the filter's verdicts on the generated images of each class into filter.csv, beside those of others.

    Verdicts on an image that has been made anew since are dropped: it has another novelty now.
    """
    file = out / "filter.csv"
    novelty = {str(one.file): f"{one.novelty:.4f}" for own in verdicts for one in own}
    earlier = read_csv(file, FILTER_COLUMNS) if file.is_file() else []
    before = [list(row.values()) for row in earlier if (row["name"], row["seed"]) != (name, str(seed))
              and novelty.get(row["file"], row["novelty"]) == row["novelty"]]
    rows = [[name, seed, str(one.file), f"{one.novelty:.4f}", f"{one.evidence:.6f}", one.reason]
            for own in verdicts for one in own]
    write_csv(file, FILTER_COLUMNS, before + rows)


def write_confusion(file: Path, counts: ArrayLike, classes: Sequence[str], n_seeds: int = 1) -> None:
    """Write counts[true][predicted], which are means over so many seeds."""
    mean_of = f", mean of {n_seeds} seeds" if n_seeds > 1 else ""
    rows = [[name, *(f"{count:.6g}" for count in row)] for name, row in zip(classes, np.asarray(counts).tolist())]
    write_csv(file, [f"true \\ predicted{mean_of}", *classes], rows)


# ---- summary ----------------------------------------------------------------------------------------------------


def accuracy(result: Result) -> Accuracy:
    """Of the test images, over all seeds."""
    return interval(result.correct, result.setup.test_groups)


def summarise(result: Result) -> dict[str, Any]:
    """Accuracy with sd and interval, balanced accuracy, macro-F1, recall and number of each class, as on disk."""
    classes, counts = result.setup.classes, result.confusion
    return {**vars(accuracy(result)), "balanced_accuracy": mean(one.balanced_accuracy for one in result.seeds),
            "macro_f1": mean(one.macro_f1 for one in result.seeds),
            "by_class": dict(zip(classes, recalls(counts).tolist())),
            "n_by_class": dict(zip(classes, counts.sum(axis=1).round().astype(int).tolist()))}


def summary_lines(result: Result) -> str:
    """Accuracy with its interval; below it balanced accuracy, macro-F1 and each class's recall. In words."""
    found, n_seeds, setup = accuracy(result), len(result.seeds), result.setup
    spread = f" +- {found.sd:.4f} (sd of {n_seeds} seeds)" if n_seeds > 1 else ""
    of_one = "of this one training " if n_seeds == 1 else ""
    return (f"{result.name}: test accuracy {found.mean:.4f}{spread}, 95 % interval {of_one}{found.low:.3f} to "
            f"{found.high:.3f} ({len(setup.test_files)} images of {len(set(setup.test_groups))} surfaces)\n  "
            + scores_in_words([one.confusion for one in result.seeds], setup.classes))
