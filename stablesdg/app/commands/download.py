"""Fetch the official weights: python -m stablesdg.download

Stable Diffusion v1.5 goes into weights/stable-diffusion-v1-5, the Inception network of FID into weights/. A file that
is already there and whole is not fetched again. An interrupted file of Stable Diffusion goes on where it stopped.
"""
import argparse
from pathlib import Path

from stablesdg.app.command_line import parser, run_main


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.download")
    p.add_argument("--inception", action="store_true", help="only the Inception network of FID (96 MB)")
    p.add_argument("--tokenizer", action="store_true",
                   help="only the tokenizer, for a single .safetensors file that you have")
    p.add_argument("--out", type=Path, help="folder for all of it (default: weights/)")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.weights import download, read

    weights = args.out or read.WEIGHTS
    if args.tokenizer or not args.inception:
        folder = weights / read.OFFICIAL.name
        everything = (*download.TOKENIZER_FILES, *download.CONFIG_FILES, *download.WEIGHT_FILES)
        for name in download.TOKENIZER_FILES if args.tokenizer else everything:
            download.fetch_from_hub(name, folder)
        print(f"complete: {folder}")
    if args.inception or not args.tokenizer:
        file = weights / download.INCEPTION_URL.rsplit("/", 1)[1]
        download.fetch_inception(file)
        print(f"complete: {file}")


if __name__ == "__main__":
    run_main(main)
