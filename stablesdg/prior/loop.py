"""The one training loop of pretraining: Adam, a moving average of the weights, and checkpoints to go on from."""
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..models.average import Averaged
from ..storage.checkpoint import Checkpoint, require_finite
from ..storage.errors import UserError
from ..storage.files import write_csv
from ..storage.settings import as_json, require_same_settings
from ..storage.tensors import load_tensors, save_tensors
from ..train import generator_for

BETAS = (0.9, 0.99)
WARM_UP_STEPS = 100
AVERAGE_WARM_UP = 10  # steps after which the moving average remembers more than its start
ADVICE = "repeat those, or delete it to start anew"
FINISHED_ADVICE = "repeat those, or delete it to train on from its checkpoint"

Row = dict[str, float]  # a line of a log


@dataclass(frozen=True)
class Loop:
    """How a stage is trained. A checkpoint goes on under any of these, also with other batches on another machine.

    lr        Adam's rate: rising over WARM_UP_STEPS, constant, and falling to 0 over the last third of the steps
    decay     of the moving average of the weights, which evaluation and result use
    every     steps between checkpoints, each with a row of the log
    deadline  a time of time.monotonic() at which to stop and leave the rest for another call
    dtype     of the arithmetic of the loss, by autocast; weights and evaluation stay float32
    """
    steps: int
    batch_size: int
    lr: float
    decay: float
    seed: int = 0
    every: int = 250
    deadline: float = math.inf
    dtype: torch.dtype = torch.float32

    def settings(self) -> dict[str, Any]:
        """What the result depends on."""
        return {"steps": self.steps, "batch size": self.batch_size, "lr": self.lr, "decay": self.decay}


def generator_on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """The generator itself on a CPU. On another device, where noise is drawn more quickly, one that it seeds."""
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))


def fit(stage: str, model: nn.Module, loss_at: Callable[[torch.Generator, float], Tensor], loop: Loop, work: Path,
        evaluate: Callable[[], Mapping[str, Any]], settings: Mapping[str, Any]) -> list[Row] | None:
    """Minimise loss_at(generator, progress) over the model's parameters. The model ends with their moving average.

    generator  is fixed by (seed, step) and is the source of all the loss's randomness, so that a run that was stopped
               ends with the same bytes as one that never was
    progress   rises from 0 at the first step to 1 after the last
    evaluate   -> {name: number}, a row of log-STAGE.csv
    settings   what the result depends on besides `loop`; what was made with other settings is refused

    Returns the log's rows, or None if the deadline came first. A finished stage is read from STAGE.safetensors. A stage
    without a checkpoint starts from start-STAGE-N.safetensors (parts.py) if there are any.
    """
    finished, settings = work / f"{stage}.safetensors", as_json({**settings, "seed": loop.seed})
    all_settings = {**settings, **loop.settings()}
    if finished.is_file():
        tensors, metadata = load_tensors(finished)
        require_same_settings(finished, json.loads(metadata["settings"]), all_settings, FINISHED_ADVICE)
        model.load_state_dict(tensors)
        return json.loads(metadata["rows"])
    checkpoint = Checkpoint(work / f"checkpoint-{stage}.safetensors", settings, ADVICE)
    step, rows = _train(stage, model, loss_at, loop, checkpoint, evaluate)
    if step < loop.steps:
        print(f"{stage}: stopped after {step} of {loop.steps} steps; the same command goes on")
        return None
    save_tensors(finished, model.state_dict(), {"settings": json.dumps(all_settings), "rows": json.dumps(rows)})
    return rows


def _train(stage: str, model: nn.Module, loss_at: Callable[[torch.Generator, float], Tensor], loop: Loop,
           checkpoint: Checkpoint, evaluate: Callable[[], Mapping[str, Any]]) -> tuple[int, list[Row]]:
    """Train from the checkpoint on. Returns (steps done, rows of the log)."""
    device = next(model.parameters()).device
    if parts := read_parts(checkpoint.path.parent, stage):
        try:
            model.load_state_dict(parts)
        except RuntimeError:
            raise UserError(f"start-{stage}-*.safetensors in {checkpoint.path.parent} are of a network of other "
                            "sizes: delete them to start from random weights.") from None
    averaged, optimiser = Averaged(model), torch.optim.Adam(model.parameters(), lr=loop.lr, betas=BETAS)
    step, seconds, rows, losses = 0, 0.0, [], []
    if checkpoint.path.is_file():
        record = checkpoint.restore(averaged.tensors(), optimiser)
        step, seconds, rows = record["step"], record["seconds"], record["rows"]
        print(f"{stage}: going on after {step} steps and {seconds / 3600:.2f} hours", flush=True)
    start, late = time.monotonic() - seconds, time.monotonic() >= loop.deadline
    bar = tqdm(initial=step, total=loop.steps, unit="step", desc=stage, smoothing=0.02, mininterval=5)
    while step < loop.steps and not late:
        for group in optimiser.param_groups:
            group["lr"] = loop.lr * min(1, (step + 1) / WARM_UP_STEPS, 3 * (loop.steps - step) / loop.steps)
        with torch.autocast(device.type, loop.dtype, enabled=loop.dtype != torch.float32):
            loss = loss_at(generator_for(loop.seed, step), step / loop.steps)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        averaged.follow(min(loop.decay, step / (step + AVERAGE_WARM_UP)))
        losses.append(loss.detach())
        bar.update()
        late = time.monotonic() >= loop.deadline
        if step % loop.every == 0 or step == loop.steps or late:
            seconds, since = time.monotonic() - start, torch.stack(losses)
            require_finite(since.tolist(), model.parameters(), step, optimiser.param_groups[0]["lr"], loop.dtype)
            rows.append({"step": step, "hours": round(seconds / 3600, 3), "loss": round(float(since.mean()), 5),
                         **averaged.measured(evaluate)})
            bar.write(f"{stage} {rows[-1]}")
            losses = []
            write_csv(checkpoint.path.with_name(f"log-{stage}.csv"), list(rows[-1]),
                      [list(row.values()) for row in rows])
            checkpoint.save(averaged.tensors(), optimiser, {"step": step, "seconds": seconds, "rows": rows})
    bar.close()
    model.load_state_dict(averaged.average)
    return step, rows


def parts_of(work: Path, stage: str) -> list[Path]:
    """The files in `work` that a stage starts from. Empty if it starts from random weights."""
    return sorted(work.glob(f"start-{stage}-*.safetensors"))


def read_parts(work: Path, stage: str) -> dict[str, Tensor]:
    """The tensors of all parts of a stage in `work`, in float32. Empty if there are none."""
    tensors: dict[str, Tensor] = {}
    for path in parts_of(work, stage):
        tensors |= load_tensors(path)[0]
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
