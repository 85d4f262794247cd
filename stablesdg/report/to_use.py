"""Which classifier to use, and what the results are called in the report.

The classifier is the one that knows most validation images. Test images have no say in it, so that its accuracy on them
stays honest. One that has learned from generated images comes into question only where the verdict is "use".
"""
from collections.abc import Sequence
from statistics import mean

from ..recognise.frozen import FROZEN
from ..recognise.results import Result, accuracy
from ..recognise.verdicts import NO_GENERATED_IMAGES
from .markup import count, percent
from .read import Findings
from .verdict import Word, find_gain, judge

ARM_WORDS = {"none": "real images alone", "steps": "real images, as many steps", "expand": "real and generated images",
             "synthetic": "generated images alone", "substitute": "generated in the place of real images",
             "copies": "real images and near copies", "classic": "real images, turned and mirrored"}


def name_of(result: Result) -> str:
    """An arm and its network."""
    setup = result.setup
    amount = f", {setup.alpha:g} of the real images" if setup.alpha < 1 else ""
    amount = f", {setup.per_class} a class" if setup.per_class else amount
    words = ARM_WORDS.get(setup.arm, setup.arm)
    named = "" if result.name == setup.arm else f", {result.name}"
    return f"{words} ({setup.network}{named}{amount})"


def to_use(findings: Findings) -> Result | None:
    """The classifier to use, or None where none is trained. Of equals, one on frozen features comes first."""
    gain = find_gain(findings.results)
    word = judge(findings, gain).word
    allowed = [result for result in findings.results
               if result.setup.arm in NO_GENERATED_IMAGES or word is Word.USE]
    if gain:  # a result of another split knows other validation images
        allowed = [one for one in allowed if one.setup.held_out_sha256 == gain.control.setup.held_out_sha256]
    return max(allowed, key=lambda one: (known(one), one.setup.network in FROZEN), default=None)


def known(result: Result) -> float:
    """The share of the validation images that it knows, mean over seeds."""
    return mean(one.val_accuracy for one in result.seeds)


def to_use_in_words(result: Result, results: Sequence[Result]) -> str:
    """Which one, how good it is, and why it is this one."""
    found = accuracy(result)
    of = f" of {count(len(results), 'result')}" if len(results) > 1 else ""
    return (f"{name_of(result)}. It knows {percent(known(result))} of the validation images, the most{of}, and "
            f"{percent(found.mean)} of the test images (95 % interval {percent(found.low)} to {percent(found.high)}).")
