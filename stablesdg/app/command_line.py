"""What all command lines share: help, types of arguments, exit codes."""
import argparse
import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Callable
from math import inf, isfinite
from pathlib import Path
from typing import Any, TypeVar

from ..storage.errors import UserError
from ..storage.runs import RUNS_VARIABLE
from ..storage.torchrun import is_first, only_the_first_speaks, rank, refuse_many
from .interrupt import exit_code, sigterm_as_ctrl_c
from .paths import choose_runs

RIGHTS = "ask for the right to this file, or take another folder"
DISK_ADVICE = {  # what to do about an error of the operating system
    errno.ENOSPC: "free some space, and type the command again", errno.EFBIG: "take another disk",
    errno.EROFS: "take a folder that can be written", errno.EACCES: RIGHTS, errno.EPERM: RIGHTS}
PROMPT, TOKEN = "A photo of <unknown>", "<unknown>"
N = TypeVar("N", int, float)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show a default where there is one. If it depends on other things, the help text names them."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None or action.default is False else super()._get_help_string(action)


def parser(doc: str | None, example: str, many: bool = False) -> argparse.ArgumentParser:
    """A parser whose help shows the first line of a module's docstring, the defaults, and one command to copy.

    Options must be written out. --runs is among the options of every command. It takes effect when it is read.
    `many`: torchrun may start the command in many processes.
    """
    if not many:
        refuse_many()
    p = argparse.ArgumentParser(description=(doc or "").partition("\n")[0], epilog=f"example: {example}",
                                allow_abbrev=False, formatter_class=HelpFormatter)
    p.add_argument("--runs", action=ChooseRuns, default=argparse.SUPPRESS, metavar="FOLDER",
                   help=f"folder of all runs (default: {RUNS_VARIABLE} if it is set, else runs in the current folder)")
    return p


class ChooseRuns(argparse.Action):
    """--runs: all paths of runs follow from it, so it is set once for the whole process."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        choose_runs(values)


def announce(script: str, what: object, result: Path) -> None:
    """Say what a script is about to do, before its imports cost seconds."""
    print(f"{script}: {what} -> {result.absolute()}", flush=True)


Arguments = argparse.ArgumentParser | argparse._ArgumentGroup  # what takes add_argument


def add_common(group: Arguments) -> None:
    """--seed, --device and --dtype."""
    group.add_argument("--seed", type=seed, default=0, help="all randomness follows from it")
    add_device(group)
    group.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"],
                       help="number format of the UNet; auto takes bfloat16 on GPUs that have it and CPUs that are "
                            "faster with it, float32 on others and on Apple GPUs")


def add_device(group: Arguments) -> None:
    """--device."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def add_model(group: Arguments) -> None:
    """Which run, weights and adapters make images."""
    group.add_argument("--run", type=Path, help="run folder of a category (default: the one used last)")
    group.add_argument("--weights",
                       help="diffusers folder or CompVis .safetensors (default: those the run was trained on)")
    group.add_argument("--adapters", default="all", help="all that the run has, none, or some of embedding,lora,full")


def add_training(p: argparse.ArgumentParser, learning_rate: float) -> None:
    """The arguments of train_ti.py and train_lora.py."""
    data = p.add_argument_group("data and model")
    data.add_argument("--data", type=Path, required=True, help="folder of one category's images, for example neu/Pa")
    data.add_argument("--weights", help="diffusers folder or CompVis .safetensors (default: weights/"
                                        "stable-diffusion-v1-5 if it is there, else weights/nano)")
    data.add_argument("--prompt", default=PROMPT, help="y, the condition shared by all images of the category")
    data.add_argument("--token", default=TOKEN, help="the part of the prompt that stands for the category")
    data.add_argument("--resolution", type=resolution,
                      help="shorter side in pixels, or native (default: the recipe's, or the model's own)")
    data.add_argument("--crop", type=crop,
                      help="side in pixels of the random square crops to train on, at the scale that --resolution "
                           "sets, or none (default: the recipe's, or none)")
    add_split(data)
    training = p.add_argument_group("training")
    training.add_argument("--iterations", type=positive, default=1000, help="optimiser steps")
    training.add_argument("--batch-size", type=positive, default=4, help="images a step")
    training.add_argument("--lr", type=rate, help=f"Adam's learning rate (default: the recipe's, or {learning_rate:g})")
    training.add_argument("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    training.add_argument("--compile", action="store_true", help="torch.compile the UNet")
    training.add_argument("--no-preview", action="store_true", help="draw no images when the training is finished")
    add_common(p.add_argument_group("run"))
    p.add_argument("--out", type=Path, help="run folder (default: runs/DATASET/CATEGORY)")
    p.add_argument("--resume", action="store_true", help="continue from the last checkpoint")


def add_split(group: Arguments) -> None:
    """--split."""
    group.add_argument("--split", choices=["group", "random"],
                       help="keep images of one surface in one part, or split at random as the paper does (default: "
                            "what runs/DATASET/split.json has, or group)")


# ---- types of arguments -----------------------------------------------------------------------------------------


def checked(kind: Callable[[str], N], fits: Callable[[N], bool], what: str) -> Callable[[str], N]:
    """A type for argparse: what `kind` reads, if it fits. `what` says what it should be."""
    def read(text: str) -> N:
        with contextlib.suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text} is not {what}")

    return read


positive = checked(int, lambda n: n >= 1, "a whole number of at least 1")
rate = checked(float, lambda x: 0 < x < inf, "a positive number")
finite = checked(float, isfinite, "a number to compute with")
seed = checked(int, lambda n: 0 <= n < 2**32, f"between 0 and {2**32 - 1}")


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas, each once, in order of size."""
    return tuple(sorted({finite(part) for part in text.split(",")}))


def resolution(text: str) -> int | str:
    """A positive number of pixels, or "native"."""
    return text if text == "native" else positive(text)


def crop(text: str) -> int | str:
    """A positive number of pixels, or "none"."""
    return text if text == "none" else positive(text)


# ---- the end of a command ---------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Seconds for a person to read."""
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"


def of_process() -> str:
    """Which of many processes speaks, where it is not the first."""
    return "" if is_first() else f" (process {rank()})"


def advice(error: Exception) -> str:
    """What to do about an error of the operating system; "" for others, which say it themselves."""
    what = DISK_ADVICE.get(error.errno or 0) if isinstance(error, OSError) else None
    return f": {what}. What was finished before is kept" if what else ""


def is_out_of_memory(error: Exception) -> bool:
    """Whether PyTorch has found too little memory, on a GPU or a CPU."""
    return isinstance(error, RuntimeError) and bool(re.search("out of memory|allocate memory", str(error)))


def run_main(main: Callable[[], None]) -> None:
    """Run a script's main(). An error that the user can mend becomes one sentence and exit code 1.

    Ctrl-C and SIGTERM become a sentence, too, and exit codes 130 and 143.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the console cannot show ends no command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with sigterm_as_ctrl_c(), only_the_first_speaks():
            main()
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output, head for example, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        if os.environ.get("STABLESDG_TRACEBACK"):
            raise
        print(f"error{of_process()}: {error}{advice(error)}", file=sys.stderr)
        sys.exit(1)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        print(f"error{of_process()}: not enough memory ({str(error).splitlines()[0]}): lower --batch-size or "
              "--resolution, train with --gradient-checkpointing, or for classify.py take a smaller --network.",
              file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as stop:  # it says what is saved, where anything is
        if is_first():
            print(f"\nstopped{': ' if str(stop) else ''}{stop}", file=sys.stderr)
        sys.exit(exit_code())
