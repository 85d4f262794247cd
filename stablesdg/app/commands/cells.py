"""Copy solar cells of the installed package elpv-dataset into class folders: python -m stablesdg.cells elpv

Its images are electroluminescence photographs of monocrystalline cells. Cells that experts called functional for sure
go into `functional`. Cells that they called defective for sure go into `defective`. The licence is CC BY-NC-SA 4.0
(Buerhop et al. 2018; Deitsch et al. 2019): no commercial use, and copies keep the licence.
"""
import argparse
import importlib.util
import random
import shutil
from pathlib import Path

from stablesdg.app.command_line import parser, positive, run_main, seed
from stablesdg.data.export import require_empty
from stablesdg.storage.errors import UserError

CLASSES = {"0.0": "functional", "1.0": "defective"}  # by the probability of a defect
KIND = "mono"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.cells elpv")
    p.add_argument("out", type=Path, help="folder that gets one folder for each class")
    p.add_argument("--number", type=positive, help="images of each class, drawn at random (default: all)")
    p.add_argument("--seed", type=seed, default=0, help="of the draw")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    require_empty(args.out)
    package = importlib.util.find_spec("elpv_dataset")
    if not (package and package.origin):
        raise UserError("The solar cells are a package of their own: pip install elpv-dataset.")
    data = Path(package.origin).parent / "data"
    files: dict[str, list[Path]] = {name: [] for name in CLASSES.values()}
    for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines():
        file, probability, kind = line.split()
        if kind == KIND and probability in CLASSES:
            files[CLASSES[probability]].append(data / file)
    for name, own in files.items():
        chosen = sorted(random.Random(args.seed).sample(own, min(args.number or len(own), len(own))))
        (args.out / name).mkdir(parents=True, exist_ok=True)
        for file in chosen:
            shutil.copyfile(file, args.out / name / file.name)
        print(f"copied {len(chosen)} solar cells to {args.out / name}; their licence is CC BY-NC-SA 4.0")


if __name__ == "__main__":
    run_main(main)
