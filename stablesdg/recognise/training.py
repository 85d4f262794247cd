"""How the networks are trained: Adam, the epoch that is best on the validation part, and what an arm may change.

With the paper's recipe (section IV-A) that is cross-entropy on images that are rotated a little and mirrored, each seen
once in an epoch. A `Recipe` names what else can be chosen.
"""
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..data.augment import augment_batch
from ..evaluate.extract import FeatureExtractor
from ..models.average import follow
from ..storage.checkpoint import require_finite
from .augmentation import MIXED_SHARE, augment_strong, mix_images, partners
from .batches import Drawing, draw_batches, plan_phases
from .classifiers import Imitator, State, layout, normalise, predict
from .frozen import FrozenClassifier
from .imitation import Imitated, fit_head
from .probe import fit_probe
from .targets import Targets, target_loss

LEARNING_RATE = 1e-4  # Adam's
IMITATION_LEARNING_RATE = 1e-3  # the same, where a network learns features (imitation.py)
BATCH_SIZE = 32  # images a step
EPOCHS = 50  # where neither epochs nor steps are given
LOOKS = 20  # at the validation part, where steps are given: as many for every arm that learns classes
AVERAGE_DECAY = 0.99  # of the moving average of weights

Loss = Callable[[Tensor], Tensor]  # what a network gives of a batch -> the mean of the loss


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on its images."""
    epochs: int = EPOCHS  # each ends with a look at the validation part
    steps: int | None = None  # of the optimiser, shared out among the epochs; None: an epoch is a pass over the images
    patience: int | None = None  # stop after so many epochs without a better one; None: never
    augment: str = "paper"  # or "strong"
    upright: bool = False  # strong augmentation without quarter turns
    mix: str | None = None  # "cutmix", "mixup" or "both"
    average: bool = False  # a moving average of the weights is validated and kept
    drawing: Drawing = Drawing()


@dataclass(frozen=True)
class Examples:
    """The images that a network is trained on."""
    x: Tensor  # uint8 (N, 3, S, S)
    y: Tensor  # classes (N,)
    added: Tensor | None = None  # (N,) which are not real, or are real ones seen again; None: none
    targets: Targets | None = None  # what CutMix, mixup, a teacher and weights of the loss need; None: their classes
    imitated: Imitated | None = None  # the network whose features are learned in the place of classes

    def real(self) -> Tensor:
        """Which of them (N,) the head of an Imitator is fitted to: the real ones, or all where there are none."""
        return torch.ones(len(self.y), dtype=torch.bool) if self.added is None or self.added.all() else ~self.added


class ValidationScore(NamedTuple):
    """How good an epoch is. Of two with equal accuracy, the one with the lower cross-entropy has the greater score."""
    accuracy: float
    minus_loss: float  # minus the cross-entropy


@dataclass(frozen=True)
class TrainedNetwork:
    """What `train` returns."""
    model: nn.Module  # as the best epoch left it
    state: State  # its state dict, on the CPU
    history: list[ValidationScore]  # one for each epoch
    steps: int  # of the optimiser
    imitated: Imitated | None = None  # the network whose features it learned

    @property
    def best(self) -> ValidationScore:
        """The score of the epoch that was kept."""
        return max(self.history)

    @property
    def best_epoch(self) -> int:
        """Its number, from 1 on."""
        return self.history.index(self.best) + 1


def steps(n: int, batch_size: int = BATCH_SIZE) -> int:
    """Optimiser steps of one pass over n images. A single image left over takes none: see `draw_forever`."""
    return max(1, n // batch_size + (n % batch_size > 1))


def train(model: nn.Module, examples: Examples, x_val: Tensor, y_val: Tensor, recipe: Recipe, *, seed: int,
          device: torch.device | str, lr: float = LEARNING_RATE, dtype: torch.dtype = torch.float32,
          label: str = "") -> TrainedNetwork:
    """Train a network. The epoch with the best ValidationScore is kept.

    x_val, y_val  images and classes of the validation part
    dtype         of the arithmetic, by autocast; weights and validation are float32
    label         for the progress bar
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout
    model.to(device)
    model.to(memory_format=layout(device))
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)  # one pass over the 60 million of AlexNet
    judged = copy.deepcopy(model) if recipe.average else model  # what is validated and kept
    total = recipe.steps or recipe.epochs * steps(len(examples.x))
    batches = training_batches(examples, recipe, total, generator, device)
    best: State = {}
    history: list[ValidationScore] = []
    taken = 0
    bar = tqdm(range(recipe.epochs), unit="epoch", desc=label, disable=None)
    for epoch in bar:
        losses: list[Tensor] = []
        while taken < total * (epoch + 1) // recipe.epochs:
            losses.append(train_step(model, optimiser, *next(batches), dtype))
            taken += 1
            if recipe.average:
                follow(judged.state_dict(), model.state_dict(), average_decay(taken))
        read = list(map(float, losses))
        require_finite(read, model.parameters(), taken, lr, dtype)
        score = judge(judged, examples, x_val, y_val, recipe.drawing.balanced, device)
        if not history or score > max(history):
            best = copied_state(judged)
        history.append(score)
        bar.set_postfix(loss=f"{read[-1] if read else 0:.3f}", val=f"{score.accuracy:.3f}")
        if recipe.patience and len(history) - 1 - history.index(max(history)) >= recipe.patience:
            break
    model.load_state_dict(best)
    return TrainedNetwork(model, best, history, taken, examples.imitated)


def judge(model: nn.Module, examples: Examples, x_val: Tensor, y_val: Tensor, balanced: bool,
          device: torch.device | str) -> ValidationScore:
    """The score of a network after an epoch. The head of an Imitator is fitted to its features first."""
    if isinstance(model, Imitator):
        real = examples.real()
        fit_head(model, examples.x[real], examples.y[real], x_val, y_val, balanced, device)
    return validate(model, x_val, y_val, device)


def copied_state(model: nn.Module) -> State:
    """A copy of a model's state dict, on the CPU."""
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}


def training_batches(examples: Examples, recipe: Recipe, total: int, generator: torch.Generator,
                     device: torch.device | str) -> Iterator[tuple[Tensor, Loss]]:
    """Yield the augmented images (B, 3, S, S) of each step, and the loss of what the network gives of them."""
    x, y, targets = examples.x, examples.y, examples.targets
    added = torch.zeros(len(y), dtype=torch.bool) if examples.added is None else examples.added
    for indices in draw_batches(plan_phases(recipe.drawing, y, added, total), len(x), BATCH_SIZE, generator):
        batch = augmented(x[indices].to(device), recipe, generator)
        if examples.imitated:
            yield batch, partial(examples.imitated.loss, f=examples.imitated.features(batch))
            continue
        if targets is None:
            yield batch, partial(F.cross_entropy, target=y[indices].to(device))
            continue
        wanted = targets.at(indices)
        if recipe.mix and float(torch.rand((), generator=generator)) < MIXED_SHARE:
            partner = partners(len(indices), generator)
            batch, share = mix_images(batch, partner, recipe.mix, generator)
            wanted = wanted.mixed_with(partner, share)
        yield batch, partial(target_loss, targets=wanted.to(device))


def augmented(x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images uint8 (B, 3, S, S) -> augmented and normalised. Of gray ones, one channel is augmented for all three."""
    if recipe.augment == "strong":
        is_gray = bool((x[:, :1] == x[:, 1:]).all())
        made = augment_strong(x[:, :1 if is_gray else 3].float() / 255, generator, recipe.upright)
        return normalise(255 * made.expand(-1, 3, -1, -1))
    return augment_batch(normalise(x), generator)


def train_step(model: nn.Module, optimiser: torch.optim.Optimizer, batch: Tensor, loss_of: Loss,
               dtype: torch.dtype) -> Tensor:
    """One step of the optimiser. Returns the loss."""
    model.train()
    learning = model.features if isinstance(model, Imitator) else model
    with torch.autocast(batch.device.type, dtype, enabled=dtype != torch.float32):
        given = learning(batch.contiguous(memory_format=layout(batch.device))).float()
    loss = loss_of(given)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


def validate(model: nn.Module, x: Tensor, y: Tensor, device: torch.device | str) -> ValidationScore:
    """Accuracy and minus the cross-entropy of images x with classes y."""
    return score_of(predict(model, x, device), y)


def score_of(probabilities: Tensor, y: Tensor) -> ValidationScore:
    """The score of class probabilities (N, classes) where the classes are y (N,)."""
    accuracy = (probabilities.argmax(dim=1) == y).float().mean()
    return ValidationScore(float(accuracy), -float(F.nll_loss(probabilities.clamp(min=1e-12).log(), y)))


def fit_frozen(extractor: FeatureExtractor, x: Tensor, y: Tensor, classes: int, x_val: Tensor,
               y_val: Tensor, balanced: bool) -> TrainedNetwork:
    """Fit a probe to frozen features x (N, d) of the classes y (N,). The validation part chooses its penalty."""
    probe = fit_probe(x, y, classes, validation=(x_val, y_val), balanced=balanced)
    model = FrozenClassifier(extractor.network, probe).eval()
    return TrainedNetwork(model, model.tensors(), [score_of(model.of_features(x_val), y_val)], steps=1)


def average_decay(step: int) -> float:
    """d_t of a moving average of a network's weights, and of the statistics of its batch normalisation.

        average_t = d_t average_(t-1) + (1 - d_t) weights_t,    d_t = min(AVERAGE_DECAY, (t - 1) / (t + 2))

    t counts steps from 1 on, so d_1 is 0, and nothing of the random start is left.
    """
    return min(AVERAGE_DECAY, (step - 1) / (step + 2))
