"""Device and number format, chosen once, before anything is computed."""
import ctypes
import functools
import platform
import sys
import time

import torch
from torch.nn import functional as F

from ..storage.errors import UserError
from ..storage.torchrun import local_rank, size
from .processes import of_first

try:
    import resource
except ImportError:  # Windows
    resource = None

MIN_BFLOAT16_SPEED = 1.2  # times float32's: a smaller gain is not worth the digits
SPEED_TRIALS = 10


def pick_device(name: str) -> torch.device:
    """The device of a --device argument. "auto" takes CUDA, then Apple's GPU, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if size() > 1 and name.startswith("cuda"):
        name = own_gpu(name)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} cannot be used here ({str(error).splitlines()[0]}): try "
                        "--device auto.") from None
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)  # numbers below 1e-38 become 0; with them a training step takes a fifth longer
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    return device


def own_gpu(name: str) -> str:
    """The GPU of this one of many processes, which becomes the current one. `name` is a --device argument."""
    if name != "cuda":
        raise UserError(f"--device {name} names one GPU, and {size()} processes need one each: leave out --device.")
    if local_rank() >= torch.cuda.device_count():
        raise UserError(f"This machine has {torch.cuda.device_count()} GPUs, and each process needs one: start so many "
                        "by --nproc_per_node.")
    torch.cuda.set_device(local_rank())
    return f"cuda:{local_rank()}"


def keep_freed_memory() -> None:
    """Let glibc keep freed memory. Asking the system for it again costs a sixth of a training step on a CPU."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**27)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD; bytes
            libc.mallopt(option, value)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of a --dtype argument. "auto" takes bfloat16 where the machine computes faster in it.

    On a CPU that is measured: some processors have instructions for bfloat16 and are slower with them.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cuda":
        with torch.cuda.device(device):  # it asks the current GPU
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        return torch.bfloat16 if bfloat16_speed() > MIN_BFLOAT16_SPEED else torch.float32
    return torch.float32


def describe_dtype(name: str, device: torch.device, dtype: torch.dtype) -> str:
    """The number format, and what was measured where "auto" decided by a measurement."""
    chosen = str(dtype).removeprefix("torch.")
    if name != "auto" or device.type != "cpu":
        return chosen
    tense = "is" if dtype == torch.bfloat16 else "would be"
    return f"{chosen}: bfloat16 {tense} {bfloat16_speed():.1f} times as fast here"


def bfloat16_speed() -> float:
    """What the first process has measured: all of them must choose alike."""
    return of_first(measure_bfloat16)


@functools.cache
def measure_bfloat16() -> float:
    """Speed of bfloat16 over that of float32 on this CPU, in matrix products and convolutions. Takes milliseconds."""
    operands = {dtype: [torch.ones(shape, dtype=dtype) for shape in ((256, 256), (1, 64, 25, 25), (64, 64, 3, 3))]
                for dtype in (torch.float32, torch.bfloat16)}
    seconds = dict.fromkeys(operands, float("inf"))
    for _ in range(SPEED_TRIALS):  # in turns; the fastest counts, because other work on the machine only adds time
        for dtype, (a, x, kernel) in operands.items():
            start = time.perf_counter()
            for _ in range(2):
                F.conv2d(x, kernel, padding=1)
                torch.matmul(a, a)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def peak_memory(device: torch.device) -> int | None:
    """Bytes at the peak: on a GPU what PyTorch had allocated since `open_stage` or `open_rival`, elsewhere the whole
    process with all that it did before. None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
