"""How many overlapping crops does stablesdg.split find, and how many that share nothing does it take for overlapping?

    python benchmarks/overlap.py                # recall at known overlaps, rate of false pairs; no data needed

Pairs of crops of 200 px are cut from procedural textures of 520 px. Each crop has its own exposure and sensor noise and
goes through JPEG, as a camera's would; without noise they are crops of one photograph. Crops of one texture that share
nothing are the hardest false pairs: their grain is the same, its place is not. Stripes are left out: they are alike
wherever they are cut.
"""
import io
import sys
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image
from tqdm import tqdm

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.overlap import find_copies, find_overlaps
from stablesdg.prior.textures import draw

SIDE, SHARES = 200, (0.15, 0.2, 0.3, 0.5, 0.8)
FIRST = 40_000_000  # textures that nothing else in the project has drawn


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], "python benchmarks/overlap.py --number 100")
    p.add_argument("--number", type=positive, default=50, help="textures, each of which gives a pair for each overlap")
    p.add_argument("--noise", type=float, nargs="+", default=[0, 2, 4],
                   help="standard deviations of the sensor's noise, in gray levels")
    p.add_argument("--quality", type=positive, default=80, help="of the JPEG compression")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    for sd in args.noise:
        rng = np.random.default_rng(0)
        found, false, apart = dict.fromkeys(SHARES, 0), 0, 0
        textures = (draw(FIRST + i, side=520) for i in range(10 * args.number))
        textures = (texture for texture in textures if texture.attributes["base"] != "striped")
        for texture, _ in tqdm(zip(textures, range(args.number)), total=args.number, unit="texture"):
            ground = texture.image.mean(-1)
            for share in SHARES:
                # moved along both axes, so that the common part is a rectangle of the asked share of the area
                dx = round(SIDE * (1 - share) * rng.uniform())
                dy = round(SIDE * (1 - share * SIDE / (SIDE - dx)))
                crops = [photograph(ground, y, x, sd, args.quality, rng) for y, x in ((0, 0), (dy, dx))]
                found[share] += any(abs(o.dy - dy) <= 1 and abs(o.dx - dx) <= 1 for o in find_overlaps(crops))
            corners = [photograph(ground, y, x, sd, args.quality, rng) for y in (0, 520 - SIDE) for x in (0, 520 - SIDE)]
            false += len({(o.i, o.j) for o in find_overlaps(corners)} | set(find_copies(corners)))
            apart += len(list(combinations(corners, 2)))
        print(f"noise of {sd:g} gray levels: "
              + ", ".join(f"{share:.0%} in common {n / args.number:.0%}" for share, n in found.items())
              + f"; nothing in common {false} of {apart}", flush=True)


def photograph(ground, y, x, sd, quality, rng):
    """A crop at (y, x) with an exposure, a noise and a JPEG compression of its own."""
    crop = ground[y:y + SIDE, x:x + SIDE] * rng.uniform(0.85, 1.15) + sd * rng.standard_normal((SIDE, SIDE))
    with io.BytesIO() as file:
        Image.fromarray(crop.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file), dtype=float)


if __name__ == "__main__":
    run_main(main)
