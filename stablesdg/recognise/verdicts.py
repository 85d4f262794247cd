"""Verdicts: one result compared with all results of a folder that it can be compared with.

They are computed when they are shown, and never kept: what they say depends on which results there are. The family of a
result are its comparisons with all comparable results of its folder. Holm's method adjusts the p values within it. Two
results that both use generated images meet in two families. So each sentence names the family of its adjusted p.
"""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .arms import CONTROLS
from .results import Result, Setup
from .significance import Comparison, compare, holm, verdict

EXPERIMENT = ("network", "alpha", "per_class", "split")  # results that differ here answer other questions
TRAINING = ("epochs", "steps", "patience", "augment", "upright", "side", "average")  # arguments of classify.py
HASHES = {"held_out_sha256": "other validation or test images", "pretrained_sha256": "other pretrained weights"}
NO_GENERATED_IMAGES = ("none", *CONTROLS)
MOST_NAMED = 4  # results of other experiments in one line
UNEQUAL_STEPS = 1.2  # ratio of optimiser steps from which on a verdict mentions it


@dataclass(frozen=True)
class Verdict:
    """One comparison of a family."""
    against: str  # the name of the other result
    comparison: Comparison
    adjusted_p: float  # by Holm, over the family
    sentence: str


@dataclass(frozen=True)
class Family:
    """One result, the results that it is compared with, and those that it is not."""
    result: Result
    others: Sequence[Result]
    left_out: Sequence[tuple[Result, str]]  # of the same experiment, and what differs
    elsewhere: Sequence[Result]  # of another network, share of the real images or split


# ---- who is compared with whom ----------------------------------------------------------------------------------


def find_family(result: Result, results: Iterable[Result]) -> Family:
    """The family of `result` among all results of a folder. `result` itself may be one of them."""
    others, left_out, elsewhere = [], [], []
    for other in results:
        if other.setup.stem == result.setup.stem:
            continue
        if not same_experiment(result.setup, other.setup):
            elsewhere.append(other)
        elif differences := unlike(result, other):
            left_out.append((other, "; ".join(differences)))
        else:
            others.append(other)
    return Family(result, others, left_out, elsewhere)


def comparable(a: Result, b: Result) -> bool:
    """Whether two results differ in the training images that their arms say, and in nothing else."""
    return a.name != b.name and same_experiment(a.setup, b.setup) and not unlike(a, b)


def same_experiment(a: Setup, b: Setup) -> bool:
    """Whether networks, real images and the kind of split are the same."""
    return all(getattr(a, field) == getattr(b, field) for field in EXPERIMENT)


def unlike(a: Result, b: Result) -> list[str]:
    """What forbids a comparison of two results of one experiment, in words."""
    found = []
    arguments = [one.setup.all_arguments for one in (a, b)]
    for argument in TRAINING:
        values = [own[argument] for own in arguments]
        if values[0] != values[1] and not (argument == "epochs" and arguments[0]["steps"]):  # steps are compared, too
            found.append(f"{argument} {values[0] or 'not set'} and {values[1] or 'not set'}")
    learned = [own["imitate"] or "classes" for own in arguments]
    if learned[0] != learned[1] and any(one.setup.arm not in NO_GENERATED_IMAGES for one in (a, b)):
        found.append(f"one learns {learned[0]} and the other {learned[1]}, so not the images alone differ")
    if a.setup.dtype != b.setup.dtype:
        found.append(f"arithmetic in {a.setup.dtype or 'unknown'} and {b.setup.dtype or 'unknown'}")
    found += [words for field, words in HASHES.items() if getattr(a.setup, field) != getattr(b.setup, field)]
    real = [one.setup.training_sha256 for one in (a, b)]
    if all(real) and real[0] != real[1]:
        found.append("other real training images")
    if not same_amount_added(a, b):
        found.append(f"they add {a.n_extra} and {b.n_extra} images, and a control must add as many as the other")
    return found


def same_amount_added(a: Result, b: Result) -> bool:
    """Whether a control adds as many images as the arm that it is a control of. Other pairs need not."""
    arms = {a.setup.arm, b.setup.arm}
    if not arms & set(CONTROLS) or arms & {"none", "synthetic", "substitute"}:
        return True
    return a.n_extra == b.n_extra


# ---- what is said -----------------------------------------------------------------------------------------------


def verdicts(family: Family) -> list[Verdict]:
    """The comparison with each of the others. Where there are several, Holm's adjusted p decides what is said."""
    result = family.result
    found = [compare(result.correct, other.correct, result.setup.test_groups) for other in family.others]
    said = []
    for other, comparison, p in zip(family.others, found, holm([one.p for one in found])):
        sentence = verdict(result.name, other.name, comparison, p if len(found) > 1 else None,
                           not (result.needs_no_seeds and other.needs_no_seeds))
        if len(found) > 1:
            sentence += f" The adjusted p allows for the {len(found)} comparisons of {result.name}."
        sentence += "".join(advantages(result, other) + advantages(other, result))
        said.append(Verdict(other.name, comparison, p, sentence))
    return said


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


def describe(family: Family, folder: Path | str) -> list[str]:
    """The lines that show a family: what is left out and why, which results it has, and a sentence for each."""
    result, setup = family.result, family.result.setup
    lines = [f"{result.name} is not compared with {other.name}: {why}." for other, why in family.left_out]
    if family.elsewhere:
        names = [other.setup.stem for other in family.elsewhere]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        lines.append(f"{result.name} is not compared with results of another network, share of the real images or "
                     f"split: {', '.join(names[:MOST_NAMED])}{more}.")
    amount = f"{setup.per_class} images a class" if setup.per_class else f"alpha {setup.alpha:g}"
    steps = setup.arguments.get("steps")
    length = f"{steps} steps" if steps else f"{setup.arguments['epochs']} epochs"
    what = f"{setup.network}, {amount}, {setup.split} split, {length}"
    if not family.others:
        return [*lines, f"{folder} holds no other result that {result.name} can be compared with ({what})."]
    n, names = len(family.others), ", ".join(other.name for other in family.others)
    size = f"Holm's method adjusts the p values for these {n} comparisons." if n > 1 else "It is one comparison."
    lines.append(f"{result.name} is compared with all comparable results in {folder} ({what}): {names}. {size}")
    return [*lines, *(said.sentence for said in verdicts(family))]


def describe_all(results: Sequence[Result], folder: Path | str, name: str | None = None) -> list[str]:
    """The lines of the families of a folder: of the results called `name`, or of all that use generated images.

    A result without generated images, as a control, has its place in their families. It has lines of its own where it
    is in none of these.
    """
    lines, covered = [], set()
    for result in sorted(results, key=lambda one: one.setup.arm in NO_GENERATED_IMAGES):
        own = result.setup.arm not in NO_GENERATED_IMAGES or result.setup.stem not in covered
        if result.name != name if name else not own:
            continue
        family = find_family(result, results)
        covered |= {one.setup.stem for one in (result, *family.others)}
        lines += describe(family, folder)
    return lines
