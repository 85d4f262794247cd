"""Fetch the official weights: python -m stablesdg.download

Stable Diffusion v1.5 goes into weights/stable-diffusion-v1-5, the Inception network of FID into weights/. A file that is
already there and whole is not fetched again. An interrupted file of Stable Diffusion goes on where it stopped.
"""
import argparse
from pathlib import Path

from ...weights.download import (
    CONFIG_FILES,
    INCEPTION_URL,
    TOKENIZER_FILES,
    WEIGHT_FILES,
    fetch_from_hub,
    fetch_inception,
)
from ...weights.read import OFFICIAL, WEIGHTS
from ..command_line import parser, run_main


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__.splitlines()[0], "python -m stablesdg.download")
    p.add_argument("--inception", action="store_true", help="only the Inception network of FID (96 MB)")
    p.add_argument("--tokenizer", action="store_true", help="only the tokenizer, for a single .safetensors file that you have")
    p.add_argument("--out", type=Path, help="folder for all of it (default: weights/)")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    weights = args.out or WEIGHTS
    folder = weights / OFFICIAL.name
    if not args.inception:
        names = TOKENIZER_FILES if args.tokenizer else (*TOKENIZER_FILES, *CONFIG_FILES, *WEIGHT_FILES)
        for name in names:
            fetch_from_hub(name, folder)
        print(f"complete: {folder}")
    if not args.tokenizer:
        fetch_inception(weights / INCEPTION_URL.rsplit("/", 1)[1])
        print(f"complete: {weights / INCEPTION_URL.rsplit('/', 1)[1]}")


if __name__ == "__main__":
    run_main(main)
