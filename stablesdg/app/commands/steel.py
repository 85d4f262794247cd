"""Draw the demo's steel data set: python -m stablesdg.steel demo-data"""
import argparse
from pathlib import Path

from stablesdg.app.command_line import parser, positive, run_main, seed
from stablesdg.data.export import require_empty


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.steel demo-data")
    p.add_argument("out", type=Path, help="folder that gets one folder for each class")
    p.add_argument("--number", type=positive, default=40, help="images for each class")
    p.add_argument("--seed", type=seed, default=0, help="all images follow from it")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.data import images, steel

    require_empty(args.out)
    for name in steel.CLASSES:
        for i in range(args.number):
            images.save_image(args.out / name / f"{i:03d}.png", steel.steel_image(name, i, args.seed))
    print(f"wrote {args.number} images of each of {', '.join(steel.CLASSES)} to {args.out}")


if __name__ == "__main__":
    run_main(main)
