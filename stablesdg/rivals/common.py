"""What the rivals share: what a rival is, the images of a category, and the loop that trains a rival.

A rival's file has a function that takes the images and returns a Rival. `fit` trains it, `draw` makes images.
"""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from ..data.images import read_image, to_tensor
from ..models.average import Averaged
from ..storage.checkpoint import Checkpoint, require_finite
from ..storage.files import write_csv
from ..train import batch_indices, generator_for

LOG_STEPS, CHECKPOINT_SECONDS = 50, 60  # between rows of log.csv, and between checkpoints
AVERAGE_RAMP = 0.05  # the average's half-life is at most this share of the images seen so far (Karras et al. 2020)

Loss = Callable[[list[int], torch.Generator], Tensor]


@dataclass(frozen=True)
class Learning:
    """How the parameters of one network move: Adam's rate and betas, and the longest gradient."""
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    most_gradient: float = math.inf  # a longer one, over all parameters of the network, is shortened to it


@dataclass(frozen=True)
class Phase:
    """One update within a step: a loss, and the network that goes down it.

    name     its column of log.csv
    network  key of the network whose parameters learn; no other network changes
    loss     (numbers of the batch's images, generator on the CPU) -> a number. All randomness comes from the generator,
             which seed, step and phase fix
    every    steps from one such update to the next
    """
    name: str
    network: str
    loss: Loss
    every: int = 1


@dataclass(frozen=True)
class Rival:
    """A generator of one category's images.

    networks  by name, on the device. What else must survive a stop, such as a probability that adapts, is a buffer
    learning  for each network that a phase names
    phases    of a step, in this order
    draw      seeds -> (B, 3, side, side) in [-1, 1], with the networks as they are. Image i depends on seeds[i] alone
    averaged  name of the network of which a moving average is kept. `fit` puts it in the network's place at the end
    half_life of that average, in images
    settle    called at the end of `fit`, when the networks are in eval mode, before images are drawn
    measure   more columns of log.csv
    """
    networks: nn.ModuleDict
    learning: Mapping[str, Learning]
    phases: Sequence[Phase]
    draw: Callable[[Sequence[int]], Tensor]
    averaged: str | None = None
    half_life: float = 10_000
    settle: Callable[[], None] = lambda: None
    measure: Callable[[], Mapping[str, float]] = dict


@dataclass(frozen=True)
class Training:
    """How long a rival learns. A checkpoint goes on under other steps and minutes, too.

    seconds  of training, those of earlier calls included; the loop stops at whichever comes first, steps or seconds
    dtype    of the arithmetic of the losses, by autocast; the parameters stay in float32
    """
    steps: int
    batch_size: int
    seed: int = 0
    seconds: float = math.inf
    resume: bool = False
    dtype: torch.dtype = torch.float32


@dataclass
class Progress:
    """Where the loop is, as a checkpoint keeps it."""
    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)  # of log.csv
    recent: dict[str, list[float]] = field(default_factory=dict)  # losses since the last row


# ---- images -----------------------------------------------------------------------------------------------------


def read_squares(files: Sequence[Path], side: int) -> Tensor:
    """Images (N, 3, side, side) in [-1, 1], resized with an antialiasing filter. Gray ones get three equal channels.

    An image that is not square is squeezed. What is drawn later is stretched back to the size of its category.
    """
    return torch.stack([to_tensor(read_image(file)[0].resize((side, side), Image.Resampling.LANCZOS))
                        for file in files])


# ---- the loop ---------------------------------------------------------------------------------------------------


def fit(rival: Rival, n: int, training: Training, checkpoint: Checkpoint,
        asked_to_stop: Callable[[], bool] = lambda: False) -> Progress:
    """Train a rival on its n images. Returns what was done.

    checkpoint     is written every minute and at the end; training.resume goes on from it. A run that was stopped ends
                   with the same bytes as one that never was. log.csv lies beside it
    asked_to_stop  is asked after each step; if so, the checkpoint is written and KeyboardInterrupt raised
    """
    optimiser = torch.optim.Adam([{"params": list(rival.networks[name].parameters()), "lr": how.lr, "betas": how.betas}
                                  for name, how in rival.learning.items()])
    average = Averaged(rival.networks[rival.averaged]) if rival.averaged else None
    tensors = tensors_of(rival, average)
    progress = Progress()
    if training.resume and (record := checkpoint.resume(tensors, optimiser)):
        progress = Progress(**record)
        print(f"resuming after {progress.step} steps")
    start, saved = time.monotonic() - progress.seconds, time.monotonic()
    rival.networks.train()
    bar = tqdm(initial=progress.step, total=training.steps, unit="step", smoothing=0.05, disable=None)
    over = progress.seconds >= training.seconds
    while progress.step < training.steps and not over:
        update(rival, batch_indices(progress.step, training.batch_size, n, training.seed), training, progress,
               optimiser)
        progress.step += 1
        if average:
            average.follow(decay_of(rival.half_life, training.batch_size, progress.step))
        bar.update()
        progress.seconds, stop = time.monotonic() - start, asked_to_stop()
        over = progress.seconds >= training.seconds
        last = over or progress.step == training.steps
        if progress.step % LOG_STEPS == 0 or last:
            write_row(rival, progress, checkpoint.path.with_name("log.csv"), bar)
        if stop or last or time.monotonic() - saved > CHECKPOINT_SECONDS:
            saved = time.monotonic()
            lr = max(how.lr for how in rival.learning.values())
            require_finite([], rival.networks.parameters(), progress.step, lr, training.dtype)
            checkpoint.save(tensors, optimiser, vars(progress))
        if stop and not last:
            raise KeyboardInterrupt
    bar.close()
    if average and rival.averaged:
        rival.networks[rival.averaged].load_state_dict(average.average)
    rival.networks.eval()
    rival.settle()
    return progress


def update(rival: Rival, indices: list[int], training: Training, progress: Progress,
           optimiser: torch.optim.Optimizer) -> None:
    """All phases of one step. `progress` notes their losses."""
    device = next(rival.networks.parameters()).device
    for k, phase in enumerate(rival.phases):
        if progress.step % phase.every:
            continue
        with torch.autocast(device.type, training.dtype, enabled=training.dtype != torch.float32):
            loss = phase.loss(indices, generator_for(training.seed, 1 + k, progress.step))
        network = rival.networks[phase.network]
        parameters = [p for p in network.parameters() if p.requires_grad]
        optimiser.zero_grad()  # to None, so that Adam leaves all other networks alone
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True)):
            p.grad = gradient
        if rival.learning[phase.network].most_gradient < math.inf:
            nn.utils.clip_grad_norm_(parameters, rival.learning[phase.network].most_gradient)
        optimiser.step()
        value = float(loss.detach())
        require_finite([value], (), progress.step + 1, rival.learning[phase.network].lr, training.dtype)
        progress.recent.setdefault(phase.name, []).append(value)


def decay_of(half_life: float, batch_size: int, step: int) -> float:
    """The decay of the moving average after `step` steps: one half after `half_life` images, sooner at the start."""
    return 0.5 ** (batch_size / max(min(half_life, AVERAGE_RAMP * step * batch_size), 1e-8))


def tensors_of(rival: Rival, average: Averaged | None) -> dict[str, Tensor]:
    """All that a checkpoint keeps: parameters, buffers, the moving average."""
    own = {**dict(rival.networks.named_parameters()), **dict(rival.networks.named_buffers())}
    return {**own, **({f"average.{name}": value for name, value in average.average.items()} if average else {})}


def write_row(rival: Rival, progress: Progress, path: Path, bar: Any) -> None:
    """A new row of log.csv: the mean losses since the last one."""
    means = {name: round(fmean(losses), 6) for name, losses in progress.recent.items() if losses}
    row = {"step": progress.step, "minutes": round(progress.seconds / 60, 3), **means,
           **{name: round(float(value), 6) for name, value in rival.measure().items()}}
    progress.rows.append(row)
    progress.recent.clear()
    columns = list(dict.fromkeys(name for earlier in progress.rows for name in earlier))
    write_csv(path, columns, [[earlier.get(name, "") for name in columns] for earlier in progress.rows])
    said = ", ".join(f"{name} {value:g}" for name, value in row.items())
    bar.set_postfix_str(said)
    if bar.disable:  # the output is not a terminal
        print(said, flush=True)
