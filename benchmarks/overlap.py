"""How many overlapping crops does stablesdg.split find, and how often does it find an overlap where there is none?

    python benchmarks/overlap.py                # recall at known overlaps, rate of false pairs; no data needed
    python benchmarks/overlap.py --data neu     # are pairs lost that share no mark? how long does the search take?

Pairs of crops of 200 px are cut from procedural textures of 520 px. Each crop has its own exposure and sensor noise and
goes through JPEG, as a camera's would. Without noise they are crops of one photograph. The hardest false pairs are
crops of one texture that share nothing: they have the same grain in another place. Stripes are left out: they are alike
wherever they are cut.

Each pair is sought twice: as one of a class, where a pair that shares a mark is compared in full, and as one of two
classes, where a first look at coarse frequencies must find it worth that.

With --data, each class of a data set is searched twice: pairs that share a mark, as everywhere else, and all pairs.
"""
import argparse
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image
from tqdm import tqdm

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data import marks
from stablesdg.data.copies import find_copies
from stablesdg.data.folders import list_categories
from stablesdg.data.overlap import find_overlaps, find_overlaps_across
from stablesdg.data.split import named_files
from stablesdg.data.surfaces import find_links
from stablesdg.prior.textures import draw

CROP_SIDE, TEXTURE_SIDE = 200, 520  # pixels
SHARES = (0.15, 0.2, 0.3, 0.5, 0.8)  # of a crop's area that a pair has in common
FIRST_TEXTURE = 40_000_000  # nothing else in the project has drawn these
TEXTURES_TRIED = 10  # for each one that is used, as stripes are left out


@dataclass
class Tally:
    """What was found among the pairs."""
    found: dict[float, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))  # share -> pairs, one a texture
    across: dict[float, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))  # the same, as of two classes
    false_pairs: int = 0
    false_across: int = 0
    pairs_apart: int = 0


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/overlap.py --number 100")
    p.add_argument("--number", type=positive, default=50, help="textures; each one gives a pair for each overlap")
    p.add_argument("--noise", type=float, nargs="+", default=[0, 2, 4],
                   help="standard deviations of the sensor's noise, in gray levels")
    p.add_argument("--data", type=Path, help="folder with one folder of images for each class; nothing is drawn")
    p.add_argument("--quality", type=positive, default=80, help="of the JPEG compression")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.data:
        for folder in list_categories(args.data):
            print(f"{folder.name}: {search_twice(folder)}", flush=True)
        return
    for sd in args.noise:
        camera, tally = Camera(sd, args.quality), Tally()
        for ground, _ in tqdm(zip(textures(args.number), range(args.number)), total=args.number, unit="texture",
                              disable=None):
            count_pairs(ground, camera, tally)
        for where, found, false in (("within a class", tally.found, tally.false_pairs),
                                    ("across classes", tally.across, tally.false_across)):
            print(f"noise of {sd:g} gray levels, {where}: "
                  + ", ".join(f"{share:.0%} in common {n / args.number:.0%}" for share, n in found.items())
                  + f"; nothing in common {false} of {tally.pairs_apart}", flush=True)


def search_twice(folder: Path) -> str:
    """What the search finds in a class among the pairs that share a mark, and among all, with seconds of processor."""
    found, seconds = [], []
    for least in (marks.MIN_MARK_CORRELATION, -np.inf):
        start = time.process_time()
        with patch.object(marks, "MIN_MARK_CORRELATION", least):
            found.append({(o.first, o.second) for o in find_links(named_files(folder)).overlaps})
        seconds.append(time.process_time() - start)
    return (f"{len(found[1])} overlaps, {len(found[1] - found[0])} of them lost; {seconds[0]:.1f} s, and "
            f"{seconds[1]:.1f} s if all pairs are compared")


def textures(number: int) -> Iterator[np.ndarray]:
    """Gray textures without stripes, at least `number` of them."""
    for index in range(TEXTURES_TRIED * number):
        texture = draw(FIRST_TEXTURE + index, side=TEXTURE_SIDE)
        if texture.attributes["base"] != "striped":
            yield texture.image.mean(-1)


class Camera:
    """Takes crops, each with an exposure, a noise and a JPEG compression of its own."""

    def __init__(self, noise_sd: float, quality: int) -> None:
        self.noise_sd, self.quality, self.rng = noise_sd, quality, np.random.default_rng(0)

    def photograph(self, ground: np.ndarray, y: int, x: int) -> np.ndarray:
        """The crop at (y, x), gray levels (CROP_SIDE, CROP_SIDE)."""
        exposure = self.rng.uniform(0.85, 1.15)
        noise = self.noise_sd * self.rng.standard_normal((CROP_SIDE, CROP_SIDE))
        crop = ground[y:y + CROP_SIDE, x:x + CROP_SIDE] * exposure + noise
        with io.BytesIO() as file:
            Image.fromarray(crop.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=self.quality)
            return np.asarray(Image.open(file), dtype=float)


def count_pairs(ground: np.ndarray, camera: Camera, tally: Tally) -> None:
    """Add what is found in one texture: a pair for each share, and the pairs of its four corners."""
    for share in SHARES:
        # moved along both axes, so that the common part is a rectangle with this share of the area
        dx = round(CROP_SIDE * (1 - share) * camera.rng.uniform())
        dy = round(CROP_SIDE * (1 - share * CROP_SIDE / (CROP_SIDE - dx)))
        crops = [camera.photograph(ground, y, x) for y, x in ((0, 0), (dy, dx))]
        for tallied, overlaps in ((tally.found, find_overlaps(crops)),
                                  (tally.across, find_overlaps_across(crops, ("a", "b")))):
            tallied[share] += any(abs(o.dy - dy) <= 1 and abs(o.dx - dx) <= 1 for o in overlaps)
    ends = (0, TEXTURE_SIDE - CROP_SIDE)
    corners = [camera.photograph(ground, y, x) for y in ends for x in ends]
    tally.false_pairs += len({(o.i, o.j) for o in find_overlaps(corners)} | set(find_copies(corners)))
    tally.false_across += len(find_overlaps_across(corners, "abcd"))
    tally.pairs_apart += len(corners) * (len(corners) - 1) // 2


if __name__ == "__main__":
    run_main(main)
