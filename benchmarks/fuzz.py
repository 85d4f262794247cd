"""Damaged and hostile input: does every file and every argument end in a result or in one sentence?

    python benchmarks/fuzz.py                    # 5,000 inputs
    python benchmarks/fuzz.py --first 4711 --inputs 1       # one of them again

An input is an image, a safetensors, JSON or CSV file that chance has damaged, or a command line that chance has typed.
It follows from --seed and its number. Allowed are a result, a UserError, an OSError (a sentence, too) and the end of
the process by argparse. Any other exception is a finding. So are more than SECONDS, a command line that writes a file,
except the notes of expand.py on what has failed, and one that lets a number pass that is none. Linux and macOS only.
"""
import argparse
import contextlib
import importlib
import io
import json
import math
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from damage import WORDS, Chance, damage_bytes, damage_value, damaged_csv, damaged_json, png, whole_images
from PIL import Image
from safetensors.torch import save

from stablesdg.app import model, runs
from stablesdg.data import generated, split
from stablesdg.data.images import read_fitted
from stablesdg.evaluate.tuning import ResultTable
from stablesdg.recognise import hard, results
from stablesdg.recognise.saved import load_classifier
from stablesdg.storage.checkpoint import Checkpoint
from stablesdg.storage.errors import UserError
from stablesdg.storage.tensors import load_tensors, read_metadata
from stablesdg.weights.adapters import LayerName, read_embedding, read_lora
from stablesdg.weights.read import read_recipe

SECONDS = 10  # an input that takes longer hangs
COMMANDS = ("train_ti", "train_lora", "sample", "fid", "tune", "classify", "expand", "stablesdg.app.commands.split",
            "stablesdg.app.commands.plan", "stablesdg.app.commands.prepare", "stablesdg.report.__main__",
            "stablesdg.rivals.__main__", "stablesdg.prior.__main__")


class Hangs(BaseException):
    """An input took too long. No Exception, so that nothing but one_input catches it."""


class LetIn(Exception):
    """An input was taken that should not have been."""


# ---- files -----------------------------------------------------------------------------------------------------------


def try_image(chance: Chance, place: Path) -> None:
    """An image as a training or sample.py reads it."""
    ending, data = chance.choice(IMAGES)
    how = chance.random()
    if how < 0.2:  # a header that lies
        side = [chance.choice([0, 1, 7, 40, 65_535, 100_000, 2**31 - 1, 2**31, 2**32 - 1]) for _ in range(2)]
        ending, data = "png", png(*side, chance.choice([1, 2, 4, 8, 16, 3]), chance.choice([0, 2, 3, 4, 6, 1]),
                                  bytes(chance.randrange(5000)))
    elif how < 0.25 and ending == "bmp":
        data = data[:18] + struct.pack("<ii", *(chance.randrange(-2**31, 2**31) for _ in range(2))) + data[26:]
    elif how < 0.95:
        data = damage_bytes(data, chance)
    file = place / f"image.{chance.choice(['png', 'jpg', 'tif', 'bmp', ending, ending, ending])}"
    file.write_bytes(data)
    read_fitted(file, chance.choice([None, 32]), 8)


def try_tensors(chance: Chance, place: Path) -> None:
    """A safetensors file as an embedding, a LoRA, a classifier or a checkpoint."""
    layer = torch.nn.Linear(4, 4)
    tensors = {"lora_unet_a.lora_down.weight": torch.ones(1, 4), "lora_unet_a.lora_up.weight": torch.ones(4, 1),
               "parameter.w": layer.weight.detach(), "exp_avg.w": torch.ones(4, 4), "<unknown>": torch.ones(3, 4)}
    kept = {name: x for name, x in tensors.items() if chance.random() < 0.7}
    metadata = {"settings": "{}", "record": "{}", "network": "squeezenet", "classes": '["a", "b"]', "side": "64",
                "train_sha256": "[]", "lora_adapter_metadata": "{}"}
    metadata = {name: chance.choice([text, text, text, "x", "[", "3", "null"]) for name, text in metadata.items()
                if chance.random() < 0.9}
    data = save(kept, metadata)
    length = int.from_bytes(data[:8], "little")
    how = chance.random()
    if how < 0.4:
        header = damage_value(json.loads(data[8:8 + length]), chance)
        text = json.dumps(header).encode()
        data = struct.pack("<Q", len(text)) + text + data[8 + length:]
    elif how < 0.5:
        data = struct.pack("<Q", chance.choice([0, 1, 2**20, 2**40, 2**64 - 1])) + data[8:]
    elif how < 0.8:
        data = damage_bytes(data, chance)
    file = place / "tensors.safetensors"
    file.write_bytes(data)
    chance.choice([
        lambda: load_tensors(file), lambda: read_metadata(file), lambda: read_embedding(file),
        lambda: read_lora(file, {LayerName("unet", "a"): layer}), lambda: load_classifier(file),
        lambda: Checkpoint(file, {}).restore({"w": layer.weight}, torch.optim.Adam([layer.weight]))])()


def try_record(chance: Chance, place: Path) -> None:
    """run.json and the weights' recipe.json, as the scripts read them."""
    if chance.random() < 0.6:
        record = {"weights": "w", "weights_sha256": "0", "data": "d", "stages": {"ti": {"arguments": {
            "prompt": "p", "resolution": 64, "data": "d"}, "embedding_sha256": None}}, "tuned": {"s": 0.3, "w": 2.0}}
        (place / "run.json").write_bytes(damaged_json(record, chance))
        runs.require_run(place)
        return
    recipe = {"all": {"resolution": "native", "crop": 128}, "train_ti": {"lr": 5e-3}, "sample": {"guidance": 1.5}}
    (place / "recipe.json").write_bytes(damaged_json(recipe, chance))
    weights = read_recipe(place / "recipe.json")
    model.from_recipe(argparse.Namespace(recipe=weights), "train_ti", lr=None, crop=None)  # type: ignore[arg-type]


def try_split(chance: Chance, place: Path) -> None:
    """split.json, as the stages read it."""
    folder = place / "a"
    named = split.named_files(folder)
    files = {name: {"sha256": split.sha256(file), "group": name, "part": part}
             for (name, file), part in zip(named.items(), ("train", "val", "test"))}
    manifest = place / "split.json"
    manifest.write_bytes(damaged_json({"method": "group", "seed": 0, "ratios": [8, 1, 1], "files": files}, chance))
    known = split.load_split(manifest, [folder])
    for part in split.PARTS:
        split.surfaces_of(known, split.part_files(known, folder, part))
    split.refuse_leak(["0"], known, "it")


def try_table(chance: Chance, place: Path) -> None:
    """manifest.csv, filter.csv, results.csv, tune.csv and the file of --hard, as the stages read them."""
    manifest = [generated.MANIFEST_COLUMNS, ["0.png", "a/0.png", "0", "0.4", "2", "ddim", "50", "0.5", "a/0.png", "1"]]
    kind = chance.randrange(4)
    if kind == 0:
        (place / "manifest.csv").write_bytes(damaged_csv(manifest * 2, chance))
        (place / "settings.json").write_bytes(damaged_json({"s": 1}, chance))
        generated.is_finished(place, {"s": 1})
        generated.require_own_folder(place)
    elif kind == 1:
        (place / "filter.csv").write_bytes(damaged_csv([results.FILTER_COLUMNS, ["n", "0", "f", "1", "1", "kept"]],
                                                       chance))
        results.save_filtered(place, "n", 1, [])
    elif kind == 2:
        (place / "hard.csv").write_bytes(damaged_csv([["file", "weight"], ["a/0.png", "0.5"]], chance))
        known = split.load_split(place / "none.json", [], "group")
        with contextlib.redirect_stdout(io.StringIO()):
            hard.read_hard(place / "hard.csv", [place / "a" / "0.png"], known)
    else:
        names = "s w number fid fid_sd novelty ssim seconds".split()
        (place / "tune.csv").write_bytes(damaged_csv([names, ["0.3", "2", "4", "1", "1", "1", "1", "1"]], chance))
        (place / "tune.json").write_bytes(json.dumps({}).encode())
        ResultTable(place, {}, True)


# ---- command lines ----------------------------------------------------------------------------------------------


def options_of(module: Any) -> list[str]:
    """All options that the help of a command names."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main(["--help"])
    return sorted({word.strip("[],") for word in said.getvalue().split() if word.strip("[],").startswith("--")})


def try_arguments(chance: Chance, place: Path) -> None:
    """A command line in a folder where nothing can be trained: none of its images can be read."""
    name = chance.choice(COMMANDS)
    module = importlib.import_module(name)
    words = [] if chance.random() < 0.3 and "prior" not in name else {  # which would begin to train
        "fid": ["broken/a", "broken/b"], "sample": ["--run", "empty"], "tune": ["--run", "empty"],
        "stablesdg.app.commands.prepare": ["broken", "prepared"], "stablesdg.rivals.__main__": [
            "dcgan", "--data", "broken/a"], "stablesdg.prior.__main__": ["--photographs", "empty", "--out", "broken"],
    }.get(name, ["broken"] if "." in name else ["--data", "broken" if name in ("classify", "expand") else "broken/a"])
    for _ in range(chance.randrange(5)):
        option = chance.choice(OPTIONS[name])
        if option not in ("--help", "--runs"):
            words += [option, chance.choice(WORDS)] if chance.random() < 0.8 else [option]
    if hasattr(module, "parse") and chance.random() < 0.5:
        values = vars(module.parse(words)).values()
        numbers = [n for value in values for n in (value if isinstance(value, tuple | list) else [value])]
        if any(isinstance(n, float) and math.isnan(n) for n in numbers):
            raise LetIn(f"a number that is none, by {name}")
        return
    before = sorted(place.rglob("*"))
    with contextlib.suppress(UserError, OSError, SystemExit):
        module.main(words)
    more = set(place.rglob("*")) - set(before)
    if more and name != "expand":  # which notes in expand.json and in the report what has failed
        raise LetIn(f"{sorted(more)[0].relative_to(place)}, written by {name} {' '.join(words)[:200]}")


# ---- the loop ---------------------------------------------------------------------------------------------------


KINDS: dict[str, tuple[Callable[[Chance, Path], None], int]] = {  # with how many of a hundred inputs
    "image": (try_image, 40), "safetensors": (try_tensors, 15), "run.json, recipe.json": (try_record, 12),
    "split.json": (try_split, 10), "csv": (try_table, 11), "arguments": (try_arguments, 12)}
IMAGES: list[tuple[str, bytes]] = []
OPTIONS: dict[str, list[str]] = {}


@contextlib.contextmanager
def place_for(kind: str) -> Iterator[Path]:
    """A folder with a class of images, one of files that are none, and a current folder in it."""
    with tempfile.TemporaryDirectory() as name:
        place, before = Path(name), os.getcwd()
        (place / "a").mkdir()
        for i in range(3 if kind == "split.json" else 0):
            Image.new("L", (8, 8), i * 20).save(place / "a" / f"{i}.png")
        if kind == "arguments":
            for inside in ("broken/a", "broken/b", "empty"):
                (place / inside).mkdir(parents=True)
            (place / "file.txt").write_text("x")
            for i in range(4):
                (place / "broken" / "ab"[i % 2] / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
        os.chdir(place)
        try:
            yield place
        finally:
            os.chdir(before)


def stop(*signal: object) -> None:
    raise Hangs(f"more than {SECONDS} seconds")


def one_input(number: int, seed: int) -> tuple[str, str]:
    """(kind, what was found, or "") of one input."""
    chance = Chance(f"{seed} {number}")
    kind = chance.choices(list(KINDS), [share for _, share in KINDS.values()])[0]
    silent = io.StringIO()
    with place_for(kind) as place, contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        signal.alarm(SECONDS)
        try:
            KINDS[kind][0](chance, place)
        except (UserError, OSError, SystemExit):
            pass
        except (Exception, Hangs) as error:
            where = [frame for frame in traceback.extract_tb(error.__traceback__) if "fuzz.py" not in frame.filename]
            own = [frame for frame in where if "stablesdg" in frame.filename or frame.filename.endswith(".py")][-1:]
            at = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in own)
            return kind, f"{type(error).__name__}: {str(error)[:160]}{at}"
        finally:
            signal.alarm(0)
    return kind, "a traceback is printed" if "Traceback" in silent.getvalue() else ""  # expand.py survives faults


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--inputs", type=int, default=5000)
    p.add_argument("--first", type=int, default=0, help="number of the first input")
    p.add_argument("--seed", type=int, default=0, help="all inputs follow from it and their numbers")
    args = p.parse_args(argv)
    warnings.simplefilter("ignore")
    os.environ.pop("STABLESDG_RUNS", None)
    IMAGES[:] = whole_images()
    OPTIONS.update({name: options_of(importlib.import_module(name)) for name in COMMANDS})
    counts, findings = Counter[str](), dict[str, list[int]]()
    before, started = signal.signal(signal.SIGALRM, stop), time.monotonic()
    for number in range(args.first, args.first + args.inputs):
        kind, found = one_input(number, args.seed)
        counts[kind] += 1
        if found:
            findings.setdefault(f"{kind}: {found}", []).append(number)
    signal.signal(signal.SIGALRM, before)
    print(f"{args.inputs} inputs in {time.monotonic() - started:.0f} seconds: "
          + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    for found, numbers in findings.items():
        print(f"{len(numbers)} times, first by input {numbers[0]}: {found}")
    print(f"{len(findings)} findings")
    if findings:
        sys.exit(1)


if __name__ == "__main__":
    main()
