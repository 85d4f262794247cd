"""Fetch the photographs that weights/nano was pretrained on: python -m stablesdg.prior.fetch surfaces

It needs a network. weights/surfaces.csv names each photograph's file in a public repository, and
weights/surface-origins.csv each repository, its commit and its licence. A commit fixes what its files hold. Beyond
that, each photograph is compared with the fingerprint of the one that was used. What is there is not fetched again.
"""
import argparse
import io
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..app.command_line import parser, run_main
from ..storage.errors import UserError
from ..storage.files import atomic_path, read_csv, write_csv

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
LIST, ORIGINS = WEIGHTS / "surfaces.csv", WEIGHTS / "surface-origins.csv"
RAW = "https://raw.githubusercontent.com"
MAX_SIDE, QUALITY = 512, 90  # what the photographs were shrunk to and saved with when they were collected
MAX_DISTANCE = 12  # bits of 64 in which two copies of one photograph may differ; others differ in about 32
SECONDS = 60  # without an answer


@dataclass(frozen=True)
class Origin:
    """A photograph in a public repository, and the fingerprint of the copy that was used."""
    file: str
    repository: str
    commit: str
    path: str
    licence: str
    words: str
    fingerprint: str

    def url(self) -> str:
        """Where its file can be downloaded."""
        return f"{RAW}/{self.repository}/{self.commit}/{urllib.parse.quote(self.path)}"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.prior.fetch surfaces")
    p.add_argument("out", type=Path, help="folder for the photographs and their manifest.csv")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    origins, others = read_origins(), []
    for i, origin in enumerate(origins):
        path = args.out / origin.file
        if not path.is_file():
            save(download(origin), path)
        if distance(fingerprint(path), origin.fingerprint) > MAX_DISTANCE:
            others.append(origin.file)
        if (i + 1) % 100 == 0:
            print(f"{i + 1} of {len(origins)} photographs", flush=True)
    columns = ("file", "repository", "licence", "words")
    write_csv(args.out / "manifest.csv", columns, [[getattr(o, column) for column in columns] for o in origins])
    print(f"{args.out}: {len(origins)} photographs and their manifest.csv")
    if others:
        print(f"{len(others)} of them look unlike the ones that were used: {', '.join(others[:5])} ..")


def read_origins() -> list[Origin]:
    """The list of all photographs."""
    repositories = {row["origin"]: row for row in read_csv(ORIGINS)}
    origins = []
    for row in read_csv(LIST):
        origin = repositories[row["origin"]]
        origins.append(Origin(row["file"], origin["repository"], origin["commit"], row["path"], origin["licence"],
                              row["words"], row["fingerprint"]))
    return origins


def download(origin: Origin) -> bytes:
    """The file of a photograph. Raises UserError if it does not arrive."""
    try:
        with urllib.request.urlopen(origin.url(), timeout=SECONDS) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise UserError(f"{origin.url()} could not be fetched ({error}): run this again where there is a network. It "
                        "goes on where it stopped.") from None


def save(data: bytes, path: Path) -> None:
    """Shrink a photograph as it was when the photographs were collected, and save it as a JPEG."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            image = file.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"What arrived for {path.name} is not an image ({error}): run this again.") from None
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    with atomic_path(path) as temporary:
        image.save(temporary, "JPEG", quality=QUALITY)


def fingerprint(path: Path) -> str:
    """64 bits in hexadecimal: is each of 8 x 8 parts of the image brighter than its right neighbour?"""
    with Image.open(path) as file:
        small = np.asarray(file.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=int)
    bits = (small[:, :-1] > small[:, 1:]).ravel()
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def distance(a: str, b: str) -> int:
    """In how many bits two fingerprints differ."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


if __name__ == "__main__":
    run_main(main)
