"""What a training loop saves so that it can go on later and ends with the same bytes as one that never stopped."""
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import UserError
from .settings import require_same_settings
from .tensors import load_tensors, save_tensors


def require_finite(losses: Sequence[float], parameters: Iterable[Tensor], step: int, lr: float,
                   dtype: torch.dtype) -> None:
    """Raise UserError if a loss or a parameter is not a number. To be called before a checkpoint is written.

    losses  of the last steps; the last of them is that of `step`, counted from 1
    """
    wrong = [step - len(losses) + 1 + k for k, loss in enumerate(losses) if not math.isfinite(loss)]
    if not wrong and all(bool(p.detach().isfinite().all()) for p in parameters):
        return
    what = f"the loss of step {wrong[0]}" if wrong else f"a weight after step {step}"
    raise UserError(f"The training stopped because {what} is infinite or no number (lr {lr:g}, "
                    f"{str(dtype).removeprefix('torch.')}): lower the learning rate or try --dtype float32; what was "
                    "saved before is kept.")


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds parameters, Adam's state, further tensors, and a record of where the loop is.

    Work can go on from it only with the same `settings`: others would mix two runs.
    """
    path: Path
    settings: Mapping[str, Any]
    advice: str = "repeat those, or start without --resume"
    writes: bool = True  # False in all but one of many processes, which read the one file

    def save(self, parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer,
             record: Mapping[str, Any]) -> None:
        """Write all that `restore` reads. `record` is anything that JSON holds."""
        if not self.writes:
            return
        tensors = {f"parameter.{name}": p for name, p in parameters.items()}
        for name, p in parameters.items():  # there is no state yet if float16 overflowed in every step so far
            tensors |= {f"{key}.{name}": value for key, value in optimiser.state.get(p, {}).items()}
        save_tensors(self.path, tensors, {"settings": json.dumps(self.settings), "record": json.dumps(record)})

    def resume(self, parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Any] | None:
        """As `restore`. If there is no file, say so and return None."""
        if self.path.is_file():
            return self.restore(parameters, optimiser)
        print(f"no {self.path}: starting from the beginning")
        return None

    def restore(self, parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Fill parameters and optimiser. Returns the record.

        Raises UserError if the file was made with other settings, or is none that `save` wrote.
        """
        tensors, metadata = load_tensors(self.path)
        try:
            require_same_settings(self.path, json.loads(metadata["settings"]), self.settings, self.advice)
            record = dict(json.loads(metadata["record"]))
            with torch.no_grad():
                for name, p in parameters.items():
                    p.copy_(tensors[f"parameter.{name}"])
                    if f"step.{name}" in tensors:
                        moments = {key: tensors[f"{key}.{name}"].to(p) for key in ("exp_avg", "exp_avg_sq")}
                        optimiser.state[p] = {"step": tensors[f"step.{name}"], **moments}
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"{self.path} is no whole checkpoint of this training ({error}): delete it, and start "
                            "anew.") from None
        return record
