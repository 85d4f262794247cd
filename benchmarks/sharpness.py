"""Are generated images as sharp as their sources? Amplitude of their detail by octave, generated over source.

    python benchmarks/sharpness.py neu runs/neu/Pa/samples      # 1.00 is the source's own sharpness

neu is the data set that the sources come from. The rest are folders that sample.py filled. Each figure is the median
over a folder's images. The finest octave, waves of 2 to 4 pixels, is the one that blur takes first.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from stablesdg.app.command_line import parser, run_main
from stablesdg.data.images import read_image
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_csv

OCTAVES = ((2, 4), (4, 8), (8, 16), (16, 32))  # wavelengths in pixels


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/sharpness.py neu runs/neu/Pa/samples")
    p.add_argument("data", type=Path, help="data set that the sources are in")
    p.add_argument("generated", nargs="+", type=Path, help="folders that sample.py filled, not from pure noise")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    print("waves of, in pixels" + "".join(f"{f'{low} to {high}':>10}" for low, high in OCTAVES) + "   images")
    for folder in args.generated:
        manifest = folder / "manifest.csv"
        rows = [row for row in (read_csv(manifest) if manifest.is_file() else []) if row["source"]]
        if not rows:
            raise UserError(f"The images in {folder} have no sources: pass a folder that sample.py filled from images.")
        ratios = [amplitudes(folder / row["file"]) / amplitudes(args.data / row["source"]) for row in rows]
        print(f"{folder}\n{'':19}" + "".join(f"{x:10.2f}" for x in np.median(ratios, axis=0)) + f"{len(rows):9}")


def amplitudes(file: Path) -> np.ndarray:
    """Root mean square of an image's gray levels within each octave, (4,)."""
    x = np.asarray(read_image(file)[0].convert("L"), dtype=float)
    window = np.hanning(len(x))[:, None] * np.hanning(x.shape[1])
    power = np.abs(np.fft.fft2((x - x.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(len(x))[:, None], np.fft.fftfreq(x.shape[1]))
    wave = 1 / np.maximum(frequency, 1e-9)
    return np.sqrt([power[(low <= wave) & (wave < high)].mean() for low, high in OCTAVES])


if __name__ == "__main__":
    run_main(main)
