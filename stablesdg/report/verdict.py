"""The report's verdicts: do the generated images help, for the data set and for each class, and what would settle it?

The gain of an arm with generated images is its accuracy less that of real images alone in as many steps (--control
steps, or --steps in both). Where the real images alone took fewer, the verdict stays open: more steps help, too.
"""
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recognise.advice import DO_NOT
from ..recognise.per_class import balanced_accuracy, recalls
from ..recognise.results import Result
from ..recognise.significance import LEVEL, MIN_SEEDS, Comparison, compare, holm, number_groups
from ..recognise.verdicts import NO_GENERATED_IMAGES, UNEQUAL_STEPS, find_family, verdicts
from .markup import count
from .read import Category, Findings

WORTHWHILE_GAIN = 0.02  # of accuracy; a method whose gain is below it is not worth its hours
FEW_SURFACES = 10  # in a class's test part; a verdict on fewer is chance
LEAST_ABOVE_CHANCE = 0.1  # of the mean recall; classifiers that are less above guessing have learned nothing
LEAST_KEPT = 0.5  # of a class's generated images; if the filter leaves fewer, they are no good
EQUAL_IN_A_GAIN = ("teacher", "mix", "balanced")  # arguments of classify.py; `unlike` of verdicts.py sees to --imitate
MOST_TIMES = 20  # as many test images as there are; beyond that no advice to collect them is given


class Word(Enum):
    """What to do with the generated images."""
    USE = "use"
    DO_NOT_USE = "do not use"
    CANNOT_BE_TOLD = "cannot be told"


@dataclass(frozen=True)
class Gain:
    """An arm with generated images beside what it must be better than."""
    result: Result
    control: Result
    comparison: Comparison
    p: float  # adjusted by Holm over all comparisons of the result

    @property
    def is_fair(self) -> bool:
        """Whether the control took as many steps of the optimiser."""
        return self.result.mean_steps <= UNEQUAL_STEPS * self.control.mean_steps

    @property
    def has_enough_seeds(self) -> bool:
        """Whether there are as many as a statement needs. Frozen features of all images need one."""
        return (self.comparison.seeds >= MIN_SEEDS
                or (self.result.needs_no_seeds and self.control.needs_no_seeds))


@dataclass(frozen=True)
class Verdict:
    """A word, and why."""
    word: Word
    why: str
    settle: str  # what would settle it, or what to do now


@dataclass(frozen=True)
class ClassVerdict:
    """A traffic light."""
    word: Word
    why: str
    recall_without: float | None
    recall_with: float | None
    comparison: Comparison | None


# ---- the data set -----------------------------------------------------------------------------------------------


def find_gain(results: Sequence[Result]) -> Gain | None:
    """The comparison that the verdict rests on, chosen without a look at its outcome.

    Of the arms with generated images: those with a control of equal steps first, then expand, then most seeds.
    """
    found = []
    for result in results:
        if result.setup.arm in NO_GENERATED_IMAGES:
            continue
        family = find_family(result, results)
        for other, said in zip(family.others, verdicts(family)):
            if other.setup.arm in ("steps", "none") and learned_alike(result, other):
                found.append(Gain(result, other, said.comparison, said.adjusted_p))
    return min(found, key=lambda gain: (not gain.is_fair, gain.control.setup.arm != "steps",
                                        gain.result.setup.arm != "expand", -gain.comparison.seeds,
                                        gain.result.setup.stem), default=None)


def learned_alike(a: Result, b: Result) -> bool:
    """Whether no option of the training differs that would explain a gain without generated images."""
    return all(a.setup.all_arguments[name] == b.setup.all_arguments[name] for name in EQUAL_IN_A_GAIN)


def judge(findings: Findings, gain: Gain | None) -> Verdict:
    """The verdict on the data set."""
    advice: Mapping[str, Any] = findings.plan.get("advice", {})
    if gain is None and advice.get("verdict") == DO_NOT:
        why = str(advice.get("why", ""))
        return Verdict(Word.DO_NOT_USE, f"Plan advises against it: {why}", " ".join(advice.get("further", ())[:1]))
    if gain is None:
        return Verdict(Word.CANNOT_BE_TOLD, "No classifier has been trained with the generated images and without "
                                            "them, so nothing is known of a gain yet.", "Train both: see next steps.")
    if learned_nothing(gain.result) and learned_nothing(gain.control):
        return Verdict(Word.CANNOT_BE_TOLD,
                       "The classifiers have learned nothing that could be compared: of a class's test images they "
                       f"name {mean_recall(gain.result):.0%} rightly, and guessing names {chance(gain.result):.0%}.",
                       "Train all arms longer (--steps), or another network (--networks resnet of expand.py). If "
                       "classes have unequal numbers of images, add --balanced to all arms of classify.py.")
    found, enough = gain.comparison, gain.has_enough_seeds
    if enough and gain.p < LEVEL and found.difference < 0:
        return Verdict(Word.DO_NOT_USE, "The classifier gets worse with the generated images.",
                       "Nothing is left to settle. Train on the real images alone.")
    if enough and found.high < WORTHWHILE_GAIN:
        return Verdict(Word.DO_NOT_USE, f"The gain is below {100 * WORTHWHILE_GAIN:.0f} points, whatever chance did: "
                                        "it is not worth the hours.", "Nothing is left to settle.")
    if enough and gain.p < LEVEL and gain.is_fair:
        return Verdict(Word.USE, "The classifier gets better with the generated images, by more than chance explains "
                                 "and by more than as many steps on real images do.",
                       "It is settled for this split and network. A second network would make it firm.")
    return Verdict(Word.CANNOT_BE_TOLD, "Chance alone explains a difference as large as this."
                   if gain.p >= LEVEL else "Something else than the generated images may be the reason.",
                   what_would_settle(gain))


def mean_recall(result: Result) -> float:
    """The mean recall of the classes, over all seeds."""
    return balanced_accuracy(result.confusion)


def chance(result: Result) -> float:
    """The mean recall of guessing, or of one answer for all."""
    return 1 / int(np.count_nonzero(result.confusion.sum(axis=1)))


def learned_nothing(result: Result) -> bool:
    """Whether the classifiers of an arm are hardly better than guessing."""
    return mean_recall(result) < chance(result) + LEAST_ABOVE_CHANCE


def what_would_settle(gain: Gain) -> str:
    """What is lacking for a verdict: the fair control, seeds, or test images, and of which class."""
    if not gain.is_fair:
        return ("Train the control of equal steps: without it, more steps and more images cannot be told apart "
                "(classify.py --control steps).")
    found, setup = gain.comparison, gain.result.setup
    if not gain.has_enough_seeds:
        return f"Train {MIN_SEEDS} seeds of both or more: {found.seeds} cannot tell."
    half = (found.high - found.low) / 2
    times = (half / max(abs(found.difference), WORTHWHILE_GAIN - found.difference)) ** 2
    have = len(setup.test_files)
    if times > MOST_TIMES:
        return (f"It would take more than {MOST_TIMES} times as many test images as the {have} that there are. Treat "
                "the gain as none.")
    if times <= 1:
        return ("The interval alone would settle it. The adjusted p allows for the other arms in the folder, and is "
                f"too large. More test images would help, most of all of {widest_class(gain)}.")
    more = max(1, round((times - 1) * have))
    return (f"About {more} more test images would settle it, most of all of {widest_class(gain)} (there are {have}; "
            "if new ones vary as these do).")


def widest_class(gain: Gain) -> str:
    """The class whose test images make the interval widest."""
    setup = gain.result.setup
    seeds = gain.comparison.seeds
    change = np.mean(differences(gain.result, gain.control, seeds), axis=0)
    change = change - change.mean()
    groups = number_groups(setup.test_groups, len(change))
    squares: dict[str, float] = {}
    for name in setup.classes:
        own = [k for k, file in enumerate(setup.test_files) if file.split("/")[0] == name]
        sums = np.bincount(groups[own], weights=change[own]) if own else np.zeros(1)
        squares[name] = float((sums**2).sum())
    return max(squares, key=lambda name: squares[name])


def differences(a: Result, b: Result, seeds: int) -> NDArray:
    """Right answers of a less those of b: (seeds, test images)."""
    return np.asarray(a.correct[:seeds], dtype=float) - np.asarray(b.correct[:seeds], dtype=float)


# ---- each class -------------------------------------------------------------------------------------------------


def judge_classes(categories: Sequence[Category], gain: Gain | None,
                  real_only: Collection[str] = ()) -> dict[str, ClassVerdict]:
    """A traffic light for each class. Holm's method adjusts the p values of the classes.

    real_only  names of the classes that need no generated images; they are judged by their recall alone
    """
    found = {category.name: compare_class(category.name, gain) for category in categories} if gain else {}
    known = [name for name, comparison in found.items() if comparison]
    adjusted = dict(zip(known, holm([found[name].p for name in known])))  # type: ignore[union-attr]
    return {category.name: judge_class(category, gain, found.get(category.name), adjusted.get(category.name, 1.0),
                                       category.name not in real_only) for category in categories}


def compare_class(name: str, gain: Gain) -> Comparison | None:
    """The gain on the test images of one class, or None if there are none."""
    setup = gain.result.setup
    own = [k for k, file in enumerate(setup.test_files) if file.split("/")[0] == name]
    if not own:
        return None
    tables = [np.asarray(one.correct)[:, own] for one in (gain.result, gain.control)]
    return compare(*tables, groups=[setup.test_groups[k] for k in own])


def judge_class(category: Category, gain: Gain | None, found: Comparison | None, p: float,
                needs_images: bool) -> ClassVerdict:
    """The traffic light of one class, from what the filter left and from its recall without and with."""
    name = category.name
    recall = {} if gain is None or found is None else recalls_of(name, gain)

    def light(word: Word, why: str) -> ClassVerdict:
        return ClassVerdict(word, why, recall.get("without"), recall.get("with"), found)

    made, rejected = len(category.generated), len(category.rejected)
    if needs_images and not made:
        return light(Word.CANNOT_BE_TOLD, "no image was generated yet")
    if category.is_filtered and made - rejected < LEAST_KEPT * made:
        return light(Word.DO_NOT_USE, f"the filter rejected {rejected} of {made} images")
    if found is None or gain is None:
        return light(Word.CANNOT_BE_TOLD, "no classifier was tested on this class with and without")
    if not gain.has_enough_seeds:
        return light(Word.CANNOT_BE_TOLD, f"only {count(found.seeds, 'seed')}: take {MIN_SEEDS}")
    if p < LEVEL and found.difference < 0:
        return light(Word.DO_NOT_USE, "the recall falls")
    if p < LEVEL and gain.is_fair:
        return light(Word.USE, "the recall rises by more than chance explains")
    surfaces = category.surfaces.get("test", 0)
    if surfaces < FEW_SURFACES:
        return light(Word.CANNOT_BE_TOLD, f"only {count(surfaces, 'surface')} in the test part: too few to tell")
    return light(Word.CANNOT_BE_TOLD, "chance alone explains the change of the recall")


def recalls_of(name: str, gain: Gain) -> Mapping[str, float]:
    """{"without": recall of the class, "with": the same with generated images}, in the seeds that both have."""
    k, seeds = gain.result.setup.classes.index(name), gain.comparison.seeds
    return {word: float(recalls(np.mean([seed.confusion for seed in one.seeds[:seeds]], axis=0))[k])
            for word, one in (("without", gain.control), ("with", gain.result))}
