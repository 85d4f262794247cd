"""Run folders, runs/DATASET/CATEGORY, and run.json, the record of what was done in one. Needs no PyTorch."""
from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..storage.errors import UserError
from ..storage.files import read_optional_json, write_json
from ..storage.runs import runs_root

if TYPE_CHECKING:
    from ..models.stable_diffusion import StableDiffusion

CHOICE = "choice.json"
ADAPTER_FILES = ("embedding.safetensors", "lora.safetensors", "full.safetensors")


def latest_run() -> Path:
    """The run folder that was written to last and holds an adapter."""
    root = runs_root()
    runs = [f.parent for f in root.glob("**/run.json") if f.relative_to(root).parts[0] != "benchmarks"
            and any((f.parent / name).is_file() for name in ADAPTER_FILES)]
    if not runs:
        raise UserError(f"There is no run in {root.absolute()} yet: first type, for example, python train_ti.py --data "
                        "neu/Pa and python train_lora.py --data neu/Pa; or say with --runs where runs are.")
    return max(runs, key=lambda folder: (folder / "run.json").stat().st_mtime)


def read_run(folder: Path) -> dict[str, Any]:
    """run.json, or {} if there is none."""
    return read_optional_json(folder / "run.json")


def require_run(folder: Path) -> dict[str, Any]:
    """run.json of a run folder. Raises UserError if there is none, or if it is not whole."""
    record = read_run(folder)
    if not record:
        inside = sorted(f.parent.name for f in folder.glob("*/run.json"))
        raise UserError(f"{folder} is not a run folder (no run.json): " + (
            f"pass one of those in it, --run {folder / inside[0]} for example." if inside else
            "train_ti.py and train_lora.py make one."))
    stages = record.get("stages")
    if not isinstance(record.get("data"), str) or not isinstance(stages, dict) or not all(
            isinstance(stage, dict) and isinstance(stage.get("arguments"), dict) for stage in stages.values()):
        raise UserError(f"{folder / 'run.json'} is damaged: restore it, or train in another folder with --out.")
    return record


def write_choice(folder: Path, choice: Mapping[str, Any]) -> None:
    """Write tune.py's choice of s and w to choice.json, where sample.py finds it."""
    write_json(folder / CHOICE, choice)


def read_choice(folder: Path) -> dict[str, Any]:
    """choice.json, or {} if there is none."""
    return read_optional_json(folder / CHOICE)


def record_training(folder: Path, stage: str, arguments: Mapping[str, Any], sd: StableDiffusion, seconds: float,
                    memory: int | None, embedding_sha256: str | None) -> None:
    """Add a training stage to run.json. choice.json is removed, because it was made for other adapters.

    memory  as devices.peak_memory gives it
    """
    (folder / CHOICE).unlink(missing_ok=True)
    run = {**read_run(folder), "weights": str(sd.path.resolve()), "weights_sha256": sd.sha256,
           "data": str(Path(arguments["data"]).resolve())}
    entry = _entry(arguments, sd, seconds) | {"peak_memory": memory, "embedding_sha256": embedding_sha256}
    write_json(folder / "run.json", {**run, "stages": {**run.get("stages", {}), stage: entry}})


def record_sampling(folder: Path, arguments: Mapping[str, Any], sd: StableDiffusion, seconds: float) -> None:
    """Add the stage "sample" to run.json."""
    run = read_run(folder)
    stages = {**run.get("stages", {}), "sample": _entry(arguments, sd, seconds)}
    write_json(folder / "run.json", {**run, "stages": stages})


def _entry(arguments: Mapping[str, Any], sd: StableDiffusion, seconds: float) -> dict[str, Any]:
    return {"arguments": {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()},
            "weights_sha256": sd.sha256, "seconds": round(seconds, 1), "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
            "versions": {"python": sys.version.split()[0], "torch": version("torch"),
                         "transformers": version("transformers")}}
