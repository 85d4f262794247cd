"""How good does a classifier get with 5, 10, 20, .. real images a class? And what would twice as many bring?

Surfaces are dealt into folds. Each fold is recognised by classifiers that were fitted to images of the other folds.
This is cross-validation: no image is recognised by a classifier that has seen its surface, and each image is recognised
once in each draw.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .per_class import balanced_accuracy, macro_f1, recalls
from .power import likeness_within
from .significance import interval, number_groups

LEVELS = (5, 10, 20, 40, 80, 160, 320)  # images a class
LEAST_GROWTH = 1.2  # all images are a level of their own if they are so many times the level before
DRAWS = 3  # of the images that are trained on
SEED = 0
LEVELS_FITTED = 4  # the last ones: the law of a curve's beginning is another one
RESAMPLINGS = 400  # of surfaces, for the interval of the law
INTERVAL = (2.5, 97.5)  # percent

# (training images of each draw, images to recognise), as places in the list of all -> classes for each draw
Classifier = Callable[[Sequence[NDArray], NDArray], Sequence[NDArray]]


@dataclass(frozen=True)
class Labelled:
    """Images whose classes and surfaces are known."""
    y: NDArray  # classes (N,)
    groups: Sequence[str]  # the surface of each
    classes: Sequence[str]  # names


@dataclass(frozen=True)
class Point:
    """How well images are recognised by classifiers that saw so many a class."""
    per_class: int  # images a class; a class that has fewer gives all it has
    training_images: float  # in all, mean over folds
    accuracy: float
    accuracy_low: float  # 95 % interval, for other surfaces and draws
    accuracy_high: float
    balanced: float  # balanced accuracy, mean over draws
    balanced_sd: float  # over draws
    macro_f1: float
    macro_f1_sd: float
    recalls: list[float]  # of each class


@dataclass(frozen=True)
class Doubling:
    """What twice as many real images would bring, if the error goes on falling by its power law. An extrapolation."""
    per_class: int  # images a class now
    exponent: float  # b of error = a n^-b
    error: float  # of balanced accuracy, by the law, now
    gain: float  # what the error would fall by
    low: float  # 95 % interval of the gain, for other surfaces
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """What one classifier reaches with more and more images."""
    name: str
    classes: list[str]
    points: list[Point]
    doubling: Doubling | None  # None where there are fewer than two points
    likeness: float  # correlation of its errors on two images of one surface

    @property
    def best(self) -> Point:
        """With all images."""
        return self.points[-1]


def learning_curve(name: str, classify: Classifier, images: Labelled, fold: NDArray, draws: int = DRAWS,
                   levels: Sequence[int] = LEVELS) -> LearningCurve:
    """Measure a curve.

    fold   of each image (N,); those of one surface have one fold
    draws  how often the training images of each fold are drawn. A larger number takes in a smaller one's images
    """
    points, correct = [], []
    for n in choose_levels(images, fold, levels):
        predicted = np.empty((draws, len(images.y)), dtype=int)
        sizes = []
        for k in np.unique(fold):
            held_out = np.flatnonzero(fold == k)
            training = [draw_images(images.y, fold != k, n, draw) for draw in range(draws)]
            predicted[:, held_out] = classify(training, held_out)
            sizes.append(len(training[0]))
        points.append(score(predicted, images, n, float(np.mean(sizes))))
        correct.append(predicted == images.y)
    doubling = extrapolate([point.per_class for point in points], np.mean(correct, axis=1), images)
    return LearningCurve(name, list(images.classes), points, doubling,
                         likeness_within(without_class_means(np.concatenate(correct), images.y), images.groups))


def choose_levels(images: Labelled, fold: NDArray, levels: Sequence[int] = LEVELS) -> list[int]:
    """The levels that at least half of the classes have images for, and then all images.

    What can be trained on is what other folds leave. "All" is the median over classes.
    """
    folds = len(np.unique(fold))
    counts = np.bincount(images.y, minlength=len(images.classes)) * (folds - 1) / folds
    everything = max(1, int(np.median(counts)))
    chosen = [n for n in levels if n * LEAST_GROWTH <= everything]
    return [*chosen, everything]


def draw_images(y: NDArray, allowed: NDArray, n: int, draw: int) -> NDArray:
    """At most n allowed images of each class, as places in the list. Those of a smaller n are among those of a larger.

    y, allowed  classes (N,) and whether an image may be drawn (N,)
    """
    rng = np.random.default_rng((SEED, draw))
    order = rng.permutation(len(y))
    order = order[allowed[order]]
    return np.sort(np.concatenate([order[y[order] == k][:n] for k in np.unique(y)]))


def score(predicted: NDArray, images: Labelled, per_class: int, training_images: float) -> Point:
    """The figures of predictions (draws, N)."""
    n_classes = len(images.classes)
    counts = [np.bincount(images.y * n_classes + row, minlength=n_classes**2).reshape(n_classes, n_classes)
              for row in predicted]
    accuracy = interval(predicted == images.y, images.groups)
    balanced, f1 = ([measure(table) for table in counts] for measure in (balanced_accuracy, macro_f1))
    return Point(per_class, training_images, accuracy.mean, accuracy.low, accuracy.high,
                 float(np.mean(balanced)), float(np.std(balanced, ddof=1)) if len(counts) > 1 else 0.0,
                 float(np.mean(f1)), float(np.std(f1, ddof=1)) if len(counts) > 1 else 0.0,
                 np.mean([recalls(table) for table in counts], axis=0).tolist())


def without_class_means(values: NDArray, y: NDArray) -> NDArray:
    """A table (repetitions, N) less the mean of each class: a hard class is no likeness of its surfaces."""
    means = np.stack([values[:, y == k].mean(axis=1) if (y == k).any() else np.zeros(len(values))
                      for k in range(y.max() + 1)], axis=1)
    return values - means[:, y]


# ---- more images ------------------------------------------------------------------------------------------------


def extrapolate(per_class: Sequence[int], correct: NDArray, images: Labelled) -> Doubling | None:
    """Fit error = a n^-b to the last levels of a curve and follow it to twice the images.

    correct  how often each image was right (levels, N), from 0 to 1

    The interval comes from surfaces drawn anew, with repetition, within each class. It knows nothing of an error that
    stays however many images there are; so the gain is rather too large than too small.
    """
    if len(per_class) < 2:
        return None
    levels, correct = np.array(per_class[-LEVELS_FITTED:]), correct[-LEVELS_FITTED:]
    floor = 0.5 / len(images.y)  # half an image: no error that was measured is known to be 0
    measured = fit_power_law(levels, np.maximum(resampled_errors(correct, images, 0), floor)[:, 0])
    samples = np.maximum(resampled_errors(correct, images, RESAMPLINGS), floor)
    laws = [fit_power_law(levels, errors) for errors in samples.T]
    low, high = np.percentile([law.gain(levels[-1]) for law in laws], INTERVAL)
    return Doubling(int(levels[-1]), measured.b, measured.error(levels[-1]), measured.gain(levels[-1]),
                    float(low), float(high))


@dataclass(frozen=True)
class PowerLaw:
    """error = a n^-b."""
    a: float
    b: float

    def error(self, n: float) -> float:
        """With n images a class."""
        return float(self.a * n**-self.b)

    def gain(self, n: float) -> float:
        """What the error falls by from n to 2 n."""
        return self.error(n) - self.error(2 * n)


def fit_power_law(n: NDArray, errors: NDArray) -> PowerLaw:
    """Least squares in the logarithms. Errors are above 0."""
    slope, intercept = np.polyfit(np.log(n), np.log(errors), 1)
    return PowerLaw(float(np.exp(intercept)), float(-slope))


def resampled_errors(correct: NDArray, images: Labelled, times: int) -> NDArray:
    """The balanced error (levels, times) with surfaces drawn anew; the measured one (levels, 1) for times = 0."""
    rng, errors = np.random.default_rng(SEED), []
    for k in np.unique(images.y):
        own = np.flatnonzero(images.y == k)
        surface = number_groups([images.groups[int(i)] for i in own], len(own))
        G = int(surface.max()) + 1
        wrong = np.stack([np.bincount(surface, weights=1 - row[own], minlength=G) for row in correct])  # (levels, G)
        drawn = rng.multinomial(G, np.full(G, 1 / G), size=times).T if times else np.ones((G, 1))  # (G, times)
        errors.append(wrong @ drawn / (np.bincount(surface, minlength=G) @ drawn))
    return np.mean(errors, axis=0)
