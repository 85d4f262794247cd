"""Device and number format, chosen once, before anything is computed."""
import ctypes
import platform

import torch

from ..storage.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device of a --device argument. "auto" takes CUDA, then Apple's GPU, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} cannot be used here ({str(error).splitlines()[0]}): try --device auto.") from None
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    return device


def keep_freed_memory() -> None:
    """Let glibc keep freed memory. Asking the system for large blocks again costs a sixth of a training step on a CPU."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**27)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD; bytes
            libc.mallopt(option, value)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of a --dtype argument. "auto" takes bfloat16 where the machine computes in it."""
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        fast = any(getattr(torch.cpu, test, bool)() for test in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return torch.bfloat16 if fast else torch.float32
    return torch.float32
