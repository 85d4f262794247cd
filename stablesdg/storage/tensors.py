"""safetensors files, read and written whole. Of pickles, which can run any code, state dicts alone are opened."""
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import UserError
from .files import atomic_path

PICKLES = (".ckpt", ".bin", ".pt", ".pth")


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file. Equal content gives equal bytes."""
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(copies, temporary, metadata={"format": "pt", **(metadata or {})})
        except SafetensorError as error:  # how it says that the disk is full, for example
            number = re.search(r"os error (\d+)", str(error))
            if not number:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in the header. safetensors writes it in an order that changes from process to process."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # the same content: only the padding can differ
            file.seek(8)
            file.write(text.ljust(length))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: (tensors by name, metadata). Raises UserError for any other file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    if path.suffix in PICKLES:
        raise UserError(pickle_refusal(path))
    return _read(path, with_tensors=True)


def _read(path: Path, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, where they are asked for, and metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_tensors else []
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, AttributeError, TypeError, ValueError) as error:  # PyTorch lacks some of its types
        raise UserError(f"{path} is not a whole safetensors file ({error}): fetch or make it again.") from None


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors. Raises UserError for any other file."""
    return _read(Path(path), with_tensors=False)[1]


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a .pth or .pt file that holds named tensors, be it under "state_dict".

    Raises UserError if there is no such file, if it is damaged, or if it holds something else.
    """
    path = Path(path)
    if path.suffix not in (".pth", ".pt") or not path.is_file():
        return load_tensors(path)[0]
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a broken file makes torch.load raise
        raise UserError(f"{path} holds more than tensors, or is damaged: save model.state_dict() and pass that, or "
                        "fetch it again.") from None
    if isinstance(tensors, dict):
        tensors = tensors.get("state_dict", tensors)
    if not isinstance(tensors, dict) or not all(isinstance(k, str) and isinstance(v, Tensor)
                                                for k, v in tensors.items()):
        raise UserError(f"{path} holds something else than named tensors: save model.state_dict() and pass that.")
    return dict(tensors)


def pickle_refusal(path: str | Path) -> str:
    """Why a pickle is not opened, and the command that converts it."""
    path = Path(path)
    code = (f"import torch, safetensors.torch as s; d = torch.load('{path.as_posix()}', weights_only=True); "
            f"s.save_file({{k: v.contiguous().clone() for k, v in d.get('state_dict', d).items() "
            f"if hasattr(v, 'shape')}}, '{path.with_suffix('.safetensors').as_posix()}')")
    return (f"{path} is a pickle, which can run any code when it is opened: fetch the .safetensors file of the same "
            f"name, or convert it once with python -c \"{code}\" (which refuses files that hold more than tensors).")
