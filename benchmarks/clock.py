"""Seconds and memory of several pieces of work, done in turns so that a busy machine slows all alike."""
import ctypes
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from stablesdg.recognise.costs import wait_for


@dataclass(frozen=True)
class Measured:
    """One contender."""
    seconds: float  # median of the rounds
    mebibytes: float  # highest growth of memory in the first round


def measure(contenders: Mapping[str, Callable[[], object]], rounds: int, device: torch.device,
            clock: Callable[[], float]) -> dict[str, Measured]:
    """Call all in turns. The first round warms up and tells the memory, the others count.

    Memory is watched in the first round only, because that costs time.
    """
    seconds = {name: list[float]() for name in contenders}
    memory = dict.fromkeys(contenders, 0.0)
    for first in [True] + [False] * rounds:
        for name, work in contenders.items():
            with Memory(device) if first else nullcontext() as used:
                start = clock()
                work()
                wait_for(device)
                spent = clock() - start
            if used:
                memory[name] = used.growth / 2**20
            else:
                seconds[name].append(spent)
    return {name: Measured(median(seconds[name]), memory[name]) for name in contenders}


class Memory:
    """By how many bytes the memory in use grew at most within a block."""

    def __init__(self, device: torch.device) -> None:
        self.cuda, self.growth, self.done = device.type == "cuda", 0, threading.Event()

    def __enter__(self) -> "Memory":
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif sys.platform == "linux":  # give back what was freed, so that its next use counts again
            ctypes.CDLL(None).malloc_trim(0)
        self.before = self.in_use()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.watcher.join()
        if self.cuda:
            self.growth = torch.cuda.max_memory_allocated() - self.before

    def watch(self) -> None:
        """Look every 20 milliseconds. A GPU counts by itself."""
        while not self.done.wait(0.02) and not self.cuda:
            self.growth = max(self.growth, self.in_use() - self.before)

    def in_use(self) -> int:
        """Bytes of this process; 0 where the system does not tell."""
        if self.cuda:
            return torch.cuda.memory_allocated()
        statm = Path("/proc/self/statm")
        return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0
