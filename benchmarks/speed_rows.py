"""The rows of speed.py: two contenders in turns, or a network beside a large matrix product."""
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from clock import measure
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

MATMUL_SIDE = 2048


@dataclass(frozen=True)
class SpeedSettings:
    """The arguments."""
    sections: list[str]
    weights: Path
    full_size: bool
    side: int
    batch_size: int
    steps: int
    strength: float
    guidance: float
    images: int
    rounds: int
    device: torch.device
    dtype: torch.dtype
    clock: Callable[[], float]


def compare(work: str, ours: Callable[[], object], peer: Callable[[], object] | None, settings: SpeedSettings,
            theirs: bool = True) -> None:
    """Let both work in turns, and print the medians. `theirs`: the peer is other software."""
    contenders = {"ours": ours} | ({"peer": partial(with_denormals, peer) if theirs else peer} if peer else {})
    measured = measure(contenders, settings.rounds, settings.device, settings.clock)
    first, second = measured["ours"], measured.get("peer")
    print(f"{work:44} {first.seconds:8.3f}s " + (f"{second.seconds:8.3f}s {second.seconds / first.seconds:5.2f}x "
          if second else " " * 17) + f"{first.mebibytes:7.0f} " + (f"{second.mebibytes:7.0f}     "
          f"{first.mebibytes / max(second.mebibytes, 1):5.2f}x" if second else ""), flush=True)


def with_denormals(peer: Callable[[], object]) -> None:
    """Let the peer compute with numbers below 1e-38, as its own scripts do. pick_device has flushed them to 0."""
    torch.set_flush_denormal(False)
    try:
        peer()
    finally:
        torch.set_flush_denormal(True)


def matmul_rate(settings: SpeedSettings) -> float:
    """Floating-point operations a second of a large matrix product: what a machine can give."""
    product = measure({"product": matmul(settings.dtype, settings)}, settings.rounds, settings.device, settings.clock)
    return 2 * MATMUL_SIDE**3 / product["product"].seconds


def matmul(dtype: torch.dtype, settings: SpeedSettings) -> Callable[[], Tensor]:
    """The product of two large matrices."""
    a = torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=settings.device, dtype=dtype)
    return lambda: a @ a


def print_share(work: str, network: Callable[[], object], dtype: torch.dtype, settings: SpeedSettings) -> None:
    """Multiplications and additions of a network a second, beside those of the matrix product, both in turns."""
    with FlopCounterMode(display=False) as counter:
        network()
    found = measure({"ours": network, "product": matmul(dtype, settings)}, settings.rounds, settings.device,
                    settings.clock)
    rate = counter.get_total_flops() / found["ours"].seconds
    highest = 2 * MATMUL_SIDE**3 / found["product"].seconds
    print(f"{work:44} {found['ours'].seconds:8.3f}s {rate / 1e9:.0f} of {highest / 1e9:.0f} GFLOP/s, "
          f"{rate / highest:.0%}", flush=True)
