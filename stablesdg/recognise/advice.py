"""From the figures of a plan to a recommendation. docs/plan.md explains the rules."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..data.parts import count
from .learning_curve import LearningCurve
from .significance import in_points

MIN_SURFACES = 5  # of a class, outside the test part: with fewer, a fold of cross-validation lacks the class
SATURATED = 0.97  # balanced accuracy of frozen features: little is left to gain
FLAT_GAIN = 0.01  # of the error, from twice the real images: so little is not worth making images
MOST_OF_ERROR = 0.5  # if a test part shows only gains above this share of the error, it cannot decide
NEAR = 0.03  # of balanced accuracy: nano's features are as good as the best ones for practical use
FEW_IMAGES = 10  # of a class: nothing can be learned about it, and all generated images would come from these
MANY_IMAGES = 200  # of a class: whoever has so many can take more

DO_NOT, REAL_FIRST = "Do not generate", "More real images first"
MAY_PAY, UNKNOWN = "Generation may pay", "Cannot be told"
NANO, IMAGENET, DESCRIPTOR = "nano", "ImageNet", "descriptor"  # names of curves
LARGER_TEST = ("Make the test part larger: python -m stablesdg.split DATA --replace --ratios 4 2 4. Or take more real "
               "images.")


@dataclass(frozen=True)
class Findings:
    """What the rules look at."""
    curves: Sequence[LearningCurve]  # one of them on nano's features
    surfaces: Mapping[str, int]  # of each class, outside the test part
    images: Mapping[str, int]  # the same
    test_surfaces: int
    smallest_gain: float  # in accuracy, that the test part can show at the best curve's error

    @property
    def best(self) -> LearningCurve:
        """The curve that ends highest."""
        return max(self.curves, key=lambda curve: curve.best.balanced)


@dataclass(frozen=True)
class Advice:
    """What to do, and why."""
    verdict: str  # one of the four
    why: str  # a sentence without its full stop
    further: list[str]  # sentences: what else follows

    @property
    def headline(self) -> str:
        """Verdict and reason in one line."""
        return f"{self.verdict}: {self.why}."


def advise(found: Findings) -> Advice:
    """Apply the rules in turn. The first that fits decides."""
    point, doubling = found.best.best, found.best.doubling
    error = 1 - point.accuracy
    scarce = min(found.surfaces, key=lambda k: found.surfaces[k])
    rarest = min(found.images, key=lambda k: found.images[k])
    known, more = what_is_reached(found.best), what_more_bring(found.best)

    def further(*texts: str) -> list[str]:
        """What `why` does not say yet, as sentences, and what to try."""
        return [f"{text[0].upper()}{text[1:]}." for text in texts if text] + what_to_try(found)

    if found.surfaces[scarce] < MIN_SURFACES:
        return Advice(UNKNOWN, f"too few surfaces. {scarce} has {count(found.surfaces[scarce], 'surface')} outside the "
                      f"test part, and {MIN_SURFACES} are needed to judge anything",
                      [f"Photograph other pieces with {scarce}. More images of the same pieces do not help.",
                       *further(known, more)])
    if point.balanced >= SATURATED:
        return Advice(DO_NOT, f"{known}, and {100 * (1 - point.balanced):.1f} points are left to gain", further(more))
    if doubling and doubling.high < FLAT_GAIN:
        return Advice(DO_NOT, f"the learning curve is flat: {more}",
                      ["More images of the same kind change little. Look at the labels of classes that are mixed up. "
                       "Or try other features (--features FILE).", *further(known)])
    if found.test_surfaces < 2 or found.smallest_gain > MOST_OF_ERROR * error:
        shows = (f", shows gains from {100 * found.smallest_gain:.1f} points on, and {100 * error:.1f} points are left "
                 "to gain" if found.test_surfaces > 1 else "")
        return Advice(UNKNOWN, f"too few surfaces to test on. The test part has "
                      f"{count(found.test_surfaces, 'surface')}{shows}", [LARGER_TEST, *further(known, more)])
    if found.images[rarest] < FEW_IMAGES:
        return Advice(REAL_FIRST, f"{rarest} has {count(found.images[rarest], 'image')} outside the test part, and all "
                      "its generated images would be made from these", further(known, more))
    if found.images[rarest] >= MANY_IMAGES and more:
        return Advice(REAL_FIRST, f"{more}. Where real images are at hand, that is surer", further(known))
    left = 100 * (1 - point.balanced)
    return Advice(MAY_PAY, f"{known}. {left:.1f} points are left to gain, and real images are few",
                  ["A small network that is trained from scratch has more to gain than this classifier. README, step "
                   "6, compares: it is equal steps on real images that the generated ones must beat.", *further(more)])


def what_is_reached(curve: LearningCurve) -> str:
    """What a classifier does without generated images."""
    return (f"a linear classifier on {'the' if curve.name == DESCRIPTOR else 'features of'} {curve.name} reaches "
            f"{100 * curve.best.balanced:.1f} % balanced accuracy without any generated image")


def what_more_bring(curve: LearningCurve) -> str:
    """What twice as many real images bring, or "" if nothing is known of it."""
    if not (found := curve.doubling):
        return ""
    return (f"twice the real images would bring {in_points(found.gain)} points ({in_points(found.low)} to "
            f"{in_points(found.high)}), if the curve goes on as it did")


def frozen_classifier(curves: Sequence[LearningCurve]) -> str:
    """What --network is called on the better frozen features: nano, unless ImageNet's know clearly more."""
    balanced = {curve.name: curve.best.balanced for curve in curves}
    return "imagenet" if balanced.get(IMAGENET, 0) > balanced[NANO] + NEAR else "nano"


def what_to_try(found: Findings) -> list[str]:
    """The classifier to try first, and the class that is recognised worst."""
    nano = next(curve for curve in found.curves if curve.name == NANO).best.balanced
    best = found.best
    if nano >= best.best.balanced - NEAR:
        said = [f"Try the classifier on frozen features first: classify.py --network nano ({100 * nano:.1f} % here). A "
                "small network can learn its features: --imitate nano."]
    elif best.name == IMAGENET:
        said = [f"Nano's features know less of these images ({100 * nano:.1f} %). Try the classifier on those of "
                "ImageNet first: classify.py --network imagenet. A small network can learn these: --imitate "
                "imagenet."]
    elif best.name == DESCRIPTOR:
        said = [f"Nano's features know less of these images ({100 * nano:.1f} %): try other ones (--features FILE)."]
    else:
        said = [f"Nano's features know less of these images ({100 * nano:.1f} %). Start a network from pretrained "
                "weights first: classify.py --pretrained FILE."]
    recall, name = min(zip(found.best.best.recalls, found.best.classes))
    return said + ([f"The weakest class is {name}: {100 * recall:.0f} % of its images are recognised."]
                   if recall < 1 else [])
