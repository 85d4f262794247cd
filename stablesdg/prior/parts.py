"""Take a half-trained stage to another machine in small files: python -m stablesdg.prior.parts runs/pretrain unet out

A checkpoint holds four numbers for each weight. The parts hold one, the moving average, in float16. Copy them into the
folder of checkpoints of a machine that has no checkpoint of this stage: it starts from them.
"""
import argparse
from pathlib import Path

from torch import Tensor

from ..app.command_line import parser, positive, run_main
from ..models.average import AVERAGE
from ..storage.errors import UserError
from ..storage.tensors import load_tensors, save_tensors

MEGABYTES = 15  # of a part


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.prior.parts runs/pretrain unet parts")
    p.add_argument("work", type=Path, help="folder of checkpoints")
    p.add_argument("stage", help="autoencoder, features, text or unet")
    p.add_argument("out", type=Path, help="folder for the parts")
    p.add_argument("--megabytes", type=positive, default=MEGABYTES, help="of a part at most")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    write_parts(args.work, args.stage, args.out, args.megabytes * 10**6)


def write_parts(work: Path, stage: str, out: Path, most_bytes: int) -> None:
    """Write the moving average of a stage's weights as start-STAGE-N.safetensors."""
    for path in (work / f"{stage}.safetensors", work / f"checkpoint-{stage}.safetensors"):
        if path.is_file():
            break
    else:
        raise UserError(f"{work} has neither a finished stage {stage} nor a checkpoint of it.")
    tensors, _ = load_tensors(path)
    prefix = f"parameter.{AVERAGE}"
    if path.name.startswith("checkpoint-"):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        value = value.half() if value.is_floating_point() else value
        if size + value.nbytes > most_bytes and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][name] = value
        size += value.nbytes
    for i, part in enumerate(parts):
        save_tensors(out / f"start-{stage}-{i}.safetensors", part)
        print(f"wrote {out / f'start-{stage}-{i}.safetensors'}")


if __name__ == "__main__":
    run_main(main)
