"""What does a command lose that is killed at a random moment? Nothing, if the same command then ends as it would have.

    python benchmarks/faults.py                                  # 20 kills of each stage, with weights/nano
    python benchmarks/faults.py --stages ti sample --kills 3

Each stage first runs undisturbed. Then it is started again in a fresh copy of the same folder, killed by SIGKILL after
a random share of the time it took, and the command that goes on is typed. What lies in the folder at the end is
compared with the undisturbed result. Trainings save after every step here, so that a kill often falls on a checkpoint.

Left out of the comparison: times, versions and memory in JSON and CSV files; metadata of safetensors files, which hold
times (tensors are compared bit by bit), and the hash of a rival's file in the settings of its images; report.html and
the prior's README.md, which tell the time; plan.json, which times a few steps; files named .unfinished-* and
.tmp??????, which the next run removes after a minute; empty lock files.
Linux and macOS only.
"""
import argparse
import csv
import functools
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jobs import ROOT

import stablesdg.train
from stablesdg.app.command_line import run_main
from stablesdg.prior import pretraining
from stablesdg.prior.autoencoder import AutoencoderSettings
from stablesdg.prior.denoiser import DenoiserSettings
from stablesdg.prior.feature_network import FeatureSettings
from stablesdg.rivals import common
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import BEING_WRITTEN
from stablesdg.storage.lock import NAME
from stablesdg.storage.tensors import load_tensors

NANO = str(ROOT / "weights" / "nano")
FLOAT32 = ("--device", "cpu", "--dtype", "float32")
TRAINING = ("--weights", NANO, "--iterations", "6", "--batch-size", "2", "--resolution", "64", "--crop", "none",
            "--no-preview", *FLOAT32)
RUN = ("--run", "runs/steel/patches", "--steps", "5", *FLOAT32)
TIMES = ("seconds", "finished", "versions", "minutes", "hours", "memory", "wrote", "read",
         "model")  # words in names of fields; the last three are hashes of files that hold times
NOT_COMPARED = ("report.html", "README.md", "plan.json", "log.txt", NAME)


@dataclass(frozen=True)
class Stage:
    """A command, and what the command that goes on has besides."""
    command: tuple[str, ...]
    goes_on: tuple[str, ...] = ("--resume",)
    needs_run: bool = False  # a run folder with a token embedding and a LoRA


STAGES = {
    "prior": Stage(("stablesdg.prior.__main__", "--images", "8", "--autoencoder-steps", "3", "--features-steps", "3",
                    "--features-batch", "4", "--text-steps", "3", "--unet-steps", "3", "--unet-batch", "2", "--every",
                    "1", "--out", "prior", *FLOAT32), ()),
    "ti": Stage(("train_ti", "--data", "steel/pits", *TRAINING)),
    "lora": Stage(("train_lora", "--data", "steel/patches", *TRAINING)),
    "full": Stage(("train_lora", "--full", "--data", "steel/patches", "--out", "full", *TRAINING)),
    "sample": Stage(("sample", *RUN, "--number", "6", "--strength", "0.4", "--batch-size", "2"), needs_run=True),
    "compose": Stage(("sample", *RUN, "--compose", "--number", "4", "--strength", "0.4", "--batch-size", "2"),
                     needs_run=True),
    "tune": Stage(("tune", *RUN, "--strengths", "0.3,0.5", "--guidances", "1,2", "--number", "4", "--features", "nano"),
                  needs_run=True),
    "classify": Stage(("classify", "--data", "steel", "--mode", "none", "--epochs", "1", "--side", "64", "--seeds", "3",
                       *FLOAT32)),
    "expand": Stage(("expand", "--data", "steel", "--weights", NANO, "--iterations", "2", "--number", "3", "--method",
                     "image", "--hyperparameters", "paper", "--steps", "2", "--side", "64", "--seeds", "1",
                     "--networks", "squeezenet", "--categories", "patches", "--device", "cpu"), ()),
    "rivals": Stage(("stablesdg.rivals.__main__", "dcgan", "--data", "steel/patches", "--steps", "6", "--size", "64",
                     "--width", "8", "--batch-size", "4", "--number", "4", "--draw-batch", "2", *FLOAT32)),
}


# ---- processes --------------------------------------------------------------------------------------------------


def start(command: Sequence[str], cwd: Path) -> int:
    """Run a command in a process of its own, which has all imports already. Returns its id."""
    if child := os.fork():
        return child
    code: Any = 1
    try:
        os.chdir(cwd)
        log = os.open(cwd / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)
        sys.stderr = open(2, "w", buffering=1, closefd=False)
        stablesdg.train.CHECKPOINT_SECONDS = common.CHECKPOINT_SECONDS = 0
        pretraining.PriorSettings = functools.partial(
            pretraining.PriorSettings, side=64, large_side=72, held_out=4,
            autoencoder=AutoencoderSettings(latent_channels=8, block_out_channels=(8, 8, 16), crop=32),
            features=FeatureSettings(widths=(8, 8, 16, 16, 16), crop=48, large_crop=64),
            unet=DenoiserSettings((16, 24, 32), ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
                                  ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",)))
        run_main(lambda: importlib.import_module(command[0]).main(list(command[1:])))
        code = 0
    except SystemExit as stop:
        code = stop.code
    finally:
        os._exit(code if isinstance(code, int) else 1)


def finish(command: Sequence[str], cwd: Path) -> float:
    """Run a command to its end. Returns its seconds. Raises UserError if it fails."""
    started = time.monotonic()
    _, status = os.waitpid(start(command, cwd), 0)
    if status:
        last = (cwd / "log.txt").read_text(encoding="utf-8").strip().splitlines()[-3:]
        raise UserError(f"{' '.join(command)} failed in {cwd} ({' / '.join(last)}).")
    return time.monotonic() - started


def kill(command: Sequence[str], cwd: Path, seconds: float) -> bool:
    """Start a command and kill it after some seconds. Returns whether it was still at work."""
    child = start(command, cwd)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)  # a process that has ended waits for us and can be killed without effect
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


# ---- what is compared -------------------------------------------------------------------------------------------


def contents(place: Path) -> dict[str, Any]:
    """{path: what is compared} of all files that a run made."""
    files = [file for file in sorted(place.rglob("*")) if file.is_file() and not file.is_relative_to(place / "steel")]
    return {file.relative_to(place).as_posix(): content(file, place) for file in files
            if not any(map(file.match, BEING_WRITTEN)) and not file.name.endswith(NOT_COMPARED)}


def content(file: Path, place: Path) -> Any:
    """The bytes of a file. Of JSON and CSV, the fields that tell no time; of safetensors, the tensors."""
    if file.suffix == ".safetensors":
        return {name: (str(x.dtype), tuple(x.shape), x.contiguous().view(torch.uint8).numpy().tobytes()
                       if x.ndim else x.item()) for name, x in load_tensors(file)[0].items()}
    if file.suffix not in (".json", ".csv"):
        return file.read_bytes()
    text = file.read_text(encoding="utf-8").replace(str(place.resolve()), "PLACE")
    return without_times(json.loads(text) if file.suffix == ".json" else list(csv.DictReader(io.StringIO(text))))


def without_times(value: Any) -> Any:
    """A value of JSON without the fields that tell times, and without whether --resume or --replace was typed."""
    if isinstance(value, list):
        return [without_times(one) for one in value]
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items()
                if not any(word in name for word in TIMES) and name not in ("resume", "replace")}
    return value


# ---- the benchmark ----------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of the kills of one stage."""
    killed: int = 0  # the others came after the end
    resumed: int = 0
    same: int = 0
    seconds: float = 0.0  # of the undisturbed run


def make_base(folder: Path) -> Path:
    """A folder with drawn images, a split of them, and adapters of one class."""
    base = folder / "base"
    base.mkdir()
    finish(["stablesdg.app.commands.steel", "steel", "--number", "12"], base)
    finish(["stablesdg.app.commands.split", "steel", "--ratios", "2", "1", "1"], base)
    with_run = folder / "base-with-run"
    shutil.copytree(base, with_run)
    for script in ("train_ti", "train_lora"):
        finish([script, "--data", "steel/patches", *TRAINING], with_run)
    return base


def torment(name: str, kills: int, folder: Path, chance: random.Random) -> Tally:
    """Kill one stage again and again. Prints what differs."""
    stage, tally = STAGES[name], Tally()
    place = folder / name  # always the same path: run.json names it

    def fresh() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / ("base-with-run" if stage.needs_run else "base"), place)
        for record in place.rglob("run.json"):
            text = record.read_text(encoding="utf-8").replace(str(folder / "base-with-run"), str(place))
            record.write_text(text, encoding="utf-8")

    fresh()
    tally.seconds = finish(stage.command, place)
    whole = contents(place)
    for _ in range(kills):
        fresh()
        moment = chance.random() * tally.seconds
        tally.killed += kill(stage.command, place, moment)
        try:
            finish([*stage.command, *stage.goes_on], place)
        except UserError as error:
            print(f"{name}, killed after {moment:.2f} s: {error}", flush=True)
            continue
        tally.resumed += 1
        after = contents(place)
        different = sorted(file for file in whole.keys() | after.keys() if whole.get(file) != after.get(file))
        tally.same += not different
        if different:
            print(f"{name}, killed after {moment:.2f} s: {', '.join(different)} differ", flush=True)
    return tally


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES), help="default: all")
    p.add_argument("--kills", type=int, default=20, help="of each stage")
    p.add_argument("--seed", type=int, default=0, help="the moments follow from it")
    args = p.parse_args(argv)
    torch.set_num_threads(1)  # a process that forks has one thread
    os.environ.pop("STABLESDG_RUNS", None)
    tallies = {}
    with tempfile.TemporaryDirectory() as temporary:
        make_base(Path(temporary))
        for name in args.stages:
            tallies[name] = torment(name, args.kills, Path(temporary), random.Random(f"{args.seed} {name}"))
            print(f"{name}: {tallies[name]}", flush=True)
    print("| stage | seconds | kills | of these at work | resumed | same bytes |\n|---|---|---|---|---|---|")
    for name, tally in tallies.items():
        print(f"| {name} | {tally.seconds:.1f} | {args.kills} | {tally.killed} | {tally.resumed} | {tally.same} |")
    if any(tally.same < args.kills for tally in tallies.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
