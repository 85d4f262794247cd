"""Which classifier to use, and what the results are called in the report.

The classifier is the one that recognises most validation images. Test images have no say in it, so that its accuracy on
them stays honest. One that has learned from generated images comes into question only where the verdict is "use".

A network that was trained is the best of many looks at the validation part. For frozen features that part chooses one
penalty alone. So another takes the place of the best one on frozen features only if it is better by more than one
standard error.
"""
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Choice:
    """The classifier to use."""
    result: Result
    among: int  # results that came into question

    @property
    def words(self) -> str:
        """Which one, how good it is, and why it is this one."""
        found, setup = accuracy(self.result), self.result.setup
        kind = "A linear classifier on frozen features" if setup.network in FROZEN else "A network that was trained"
        return (f"{kind}, {setup.stem}.safetensors. It has learned from {ARM_WORDS[setup.arm]}. It recognises "
                f"{percent(known(self.result))} of the validation images and {percent(found.mean)} of the test images "
                f"(95 % interval {percent(found.low)} to {percent(found.high)}). The validation images chose it among "
                f"{count(self.among, 'classifier')}. One on frozen features comes first unless another is better by "
                "more than chance may make it.")


def name_of(result: Result) -> str:
    """An arm and its network."""
    setup = result.setup
    amount = f", {setup.alpha:g} of the real images" if setup.alpha < 1 else ""
    amount = f", {setup.per_class} a class" if setup.per_class else amount
    words = ARM_WORDS.get(setup.arm, setup.arm)
    named = "" if result.name == setup.arm else f", {result.name}"
    return f"{words} ({setup.network}{named}{amount})"


def to_use(findings: Findings) -> Choice | None:
    """The classifier to use, or None where no file of one is there that was tested on the split as it is now."""
    word = judge(findings, find_gain(findings.results)).word
    files = findings.split.get("files", {})
    allowed = [one for one in findings.results
               if files and (one.setup.arm in NO_GENERATED_IMAGES or word is Word.USE)
               and (findings.folder / "classify" / f"{one.setup.stem}.safetensors").is_file()]
    if not allowed:
        return None
    best = max(allowed, key=known)
    frozen = max((one for one in allowed if one.setup.network in FROZEN), key=known, default=best)
    n = sum(entry["part"] == "val" for entry in files.values())
    error = (known(frozen) * (1 - known(frozen)) / max(1, n)) ** 0.5
    return Choice(best if known(best) - known(frozen) > error else frozen, len(allowed))


def known(result: Result) -> float:
    """The share of the validation images that it recognises, mean over seeds."""
    return mean(one.val_accuracy for one in result.seeds)
