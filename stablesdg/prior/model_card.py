"""The model card of a prior that pretrain.py made."""
import os
import platform
import re

import torch

CARD = """# An embedded prior

A model of Stable Diffusion's architecture scaled down until a laptop's CPU can adapt it in minutes. It is **not** Stable
Diffusion: it has seen nothing but procedural textures with captions (`stablesdg/textures.py`), drawn by this project,
and images made with it say little about what the method does with the real prior. No photograph and no data set had a
part in it; its captions name none of the defect classes of NEU or CCBSD, so that `<unknown>` has something to learn.

The folder has the official layout, which diffusers opens too. `recipe.json` holds the settings that suit it better than
the paper's; the scripts print what they take from it. `features.safetensors` is the network of `fid.py --features nano`,
trained to name what was drawn and how the picture was degraded; its distance is FD-nano, not comparable with FID.
"""


def command(args):
    """The command that makes a prior of these settings."""
    return (f"python pretrain.py --textures {args.textures} --vae-steps {args.vae_steps} --feature-steps {args.feature_steps} "
            f"--text-steps {args.text_steps} --unet-steps {args.unet_steps} --seed {args.seed}")


def model_card(args, done):
    """README.md of the prior, with the figures of its logs."""
    lines = [CARD]
    for stage, (model, rows) in done.items():
        columns = [key for key in rows[-1] if not re.fullmatch(r"t\d+", key)]
        step = max(1, len(rows) // 8)
        lines += [f"## Learning curve: {stage}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(str(row[key]) for key in columns)} |" for row in [*rows[step - 1:-1:step], rows[-1]]]
        lines += [""]
    by_time = {key[1:]: value for key, value in done["unet"][1][-1].items() if re.fullmatch(r"t\d+", key)}
    lines += ["Held-out denoising loss by timestep: " + ", ".join(f"{v:.4f} at t = {t}" for t, v in by_time.items()) + ".", "",
              f"Made by `{command(args)}`, checkpoints every {args.every} steps, in "
              f"{str(args.dtype).removeprefix('torch.')}, with PyTorch {torch.__version__} on {os.cpu_count()} cores "
              f"({platform.machine()}), {sum(rows[-1]['hours'] for _, rows in done.values()):.1f} hours of training in all."]
    return "\n".join(lines) + "\n"
