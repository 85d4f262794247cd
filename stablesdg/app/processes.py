"""Work shared among the processes that torchrun started, by torch.distributed. With one process, nothing is sent.

Tensors on a GPU go by NCCL, and all else by gloo.
"""
import atexit
import contextlib
import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..storage.errors import UserError
from ..storage.torchrun import by_itself, rank, size

PATIENCE = datetime.timedelta(days=1)  # how long a process waits for the others; torchrun ends all if one ends badly
MOST_VALUES = 2**24  # of the gradients that are sent at once; 64 MiB

T = TypeVar("T")
R = TypeVar("R")


def start() -> None:
    """Meet the other processes. None goes on before the first one has finished an earlier command."""
    if size() > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)
    wait_for_all()


@contextlib.contextmanager
def said_plainly() -> Iterator[None]:
    """A block that waits for other processes. If one has ended, so does this one, with a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not re.search("(closed|reset) by peer|Broken pipe", str(error)):
            raise
        raise UserError("Another process of this command has ended: its own message says why.") from None


# ---- small values -----------------------------------------------------------------------------------------------


def any_of(value: bool) -> bool:
    """Whether the value is true in any process."""
    if size() == 1:
        return value
    count = torch.tensor(int(value))
    with said_plainly():
        dist.all_reduce(count)
    return bool(count)


def wait_for_all() -> None:
    """Go on when all processes are here."""
    any_of(False)


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """A block that the first process runs before the others do: it may write what they then read."""
    if rank() > 0:
        wait_for_all()
    yield
    if rank() == 0:
        wait_for_all()


def of_first(make: Callable[[], T]) -> T:
    """What the first process makes, in all processes."""
    if size() == 1:
        return make()
    made = [make() if rank() == 0 else None]
    with said_plainly():
        dist.broadcast_object_list(made)
    return made[0]  # type: ignore[return-value]


def of_first_by_itself(make: Callable[[], T]) -> T:
    """The same, where `make` must not share out work, because the other processes do not take part in it."""
    return of_first(by_itself()(make))


def gather(value: T) -> list[T]:
    """The values of all processes, in their order."""
    if size() == 1:
        return [value]
    values: list = [None] * size()
    with said_plainly():
        dist.all_gather_object(values, value)
    return values


def in_shares(items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
    """work(items), which gives a result for each item. Process k of N does every N-th one, from item k on."""
    results: list[R | None] = [None] * len(items)
    for k, share in enumerate(gather(list(work(items[rank()::size()])))):
        results[k::size()] = share
    return results  # type: ignore[return-value]


# ---- gradients --------------------------------------------------------------------------------------------------


def own_part(batch_size: int) -> slice:
    """The images of each batch that this process takes. They differ by one at most.

    Raises UserError if there are more processes than images.
    """
    if size() > batch_size:
        raise UserError(f"{size()} processes cannot share a batch of {batch_size}: start at most so many, or raise "
                        "--batch-size, which changes the result.")
    return slice(rank() * batch_size // size(), (rank() + 1) * batch_size // size())


def sum_over_processes(parameters: Mapping[str, nn.Parameter], batch_size: int) -> Callable[[Tensor], Tensor]:
    """A function of the mean loss over `own_part`. It gives the mean over the whole batch, and does so to gradients.

    A process with more images counts more, so that the means are those of one process up to rounding.
    """
    part = own_part(batch_size)
    weight = (part.stop - part.start) / batch_size

    def reduce(loss: Tensor) -> Tensor:
        if size() == 1:
            return loss
        mean = loss.clone().reshape(1)
        with said_plainly(), torch.no_grad():
            for tensors in buckets([mean, *(p.grad for p in parameters.values() if p.grad is not None)]):
                flat = weight * torch.cat([tensor.flatten() for tensor in tensors])
                dist.all_reduce(flat)
                for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
                    tensor.copy_(values.view_as(tensor))
        return mean[0]

    return reduce


def buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, in lists of MOST_VALUES values, or of one larger tensor: few large messages."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > MOST_VALUES:
            yield bucket
            bucket = []
        bucket.append(tensor)
    yield bucket
