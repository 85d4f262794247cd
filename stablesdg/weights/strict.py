"""Tensors into a model. Every tensor must have its place, and every place its tensor."""
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..storage.errors import UserError

MOST_SHOWN = 20  # an error names so many faults at most
SD1_ADVICE = "Check that it is a Stable Diffusion v1 model and that its files are whole."


def fill(model: nn.Module, tensors: Mapping[str, Tensor], where: object, advice: str = SD1_ADVICE) -> None:
    """Give `model` these tensors, in float32 or finer.

    Raises UserError with the names of what is missing, unexpected or of another shape, and `advice` on what to do.
    """
    wanted = model.state_dict()
    faults = [f"missing {k}" for k in wanted if k not in tensors]
    faults += [f"unexpected {k}" for k in tensors if k not in wanted]
    faults += [f"{k} has shape {tuple(tensors[k].shape)}, not {tuple(wanted[k].shape)}"
               for k in wanted if k in tensors and tensors[k].shape != wanted[k].shape]
    if faults:
        shown = "\n  ".join(faults[:MOST_SHOWN]
                            + [f".. and {len(faults) - MOST_SHOWN} more"] * (len(faults) > MOST_SHOWN))
        raise UserError(f"{where} does not hold the weights of this architecture:\n  {shown}\n{advice}")
    fine = {k: v.to(torch.promote_types(v.dtype, torch.float32)) for k, v in tensors.items()}
    model.load_state_dict(fine, assign=True)
