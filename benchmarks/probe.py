"""Does generated data help a classifier that trains without noise? A linear one on the features of a frozen network.

    python benchmarks/probe.py neu expand=runs/neu "copies=runs/neu/*/copies" --features imagenet

Logistic regression has one optimum. It does not depend on a seed, on the order of images or on the number of steps. So
two training sets can be compared far more finely than by networks that start from random weights, and in minutes.

Each NAME=FOLDER is a set of generated images that is added to the real training images. FOLDER is a run folder of the
data set, a folder of class folders, or a path in which * stands for the class. Every set is compared with the real
images alone. The penalty on weights is the one with the least cross-entropy on the validation part.

A classifier of the real images alone looks at each set. "Recognised" is the share that it puts into their own class.
As far as it can tell, the others have wrong labels.
"""
import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calls import ROOT
from imagenet import ImageNetFeatures
from torch import Tensor
from torch.nn import functional as F

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.app.paths import split_file
from stablesdg.data.folders import list_categories
from stablesdg.data.generated import source_name
from stablesdg.data.split import PARTS, Split, load_split, part_files
from stablesdg.evaluate.extract import cached_features, nano_features, network_key
from stablesdg.evaluate.features import load_feature_network
from stablesdg.recognise.arms import FilesByClass, as_tensors, choose_real, find_generated, surfaces, unlike_settings
from stablesdg.recognise.probe import PENALTIES, deviations, fit, losses_of
from stablesdg.recognise.significance import compare
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_csv, sha256, write_csv

REAL_ALONE = "none"  # name of the set without generated images
COLUMNS = ("name", "training images", "accuracy", "difference from none", "low", "high", "p", "test cross-entropy",
           "validation cross-entropy", "recognised")

Reader = Callable[[Sequence[Path]], Tensor]  # N files -> features (N, d) float64


@dataclass(frozen=True)
class ProbeSettings:
    """The arguments."""
    data: Path
    generated: list[str]
    features: str
    per_class: int | None
    draws: int
    number: int | None
    weights: Path
    out: Path | None


@dataclass(frozen=True)
class Made:
    """A generated image and the name of its source, "" where there is none or nothing says which."""
    file: Path
    source: str


@dataclass(frozen=True)
class GeneratedSet:
    """The images of one NAME=FOLDER."""
    images: list[list[Made]]  # of each class
    seen: frozenset[str]  # sha256 of the real images that made them


@dataclass(frozen=True)
class RealImages:
    """The real images, and the features of those that are not trained on."""
    train: FilesByClass
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    test_groups: list[str]


@dataclass(frozen=True)
class Outcome:
    """What one set of images gives with one draw of real images."""
    correct: list[int]  # for each test image
    training_images: int
    validation_loss: float
    test_loss: float
    recognised: float | None  # None without generated images


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, 'python benchmarks/probe.py neu expand=runs/neu "copies=runs/neu/*/copies"')
    p.add_argument("data", type=Path, help="data set: a folder with one folder of images for each class")
    p.add_argument("generated", nargs="+", metavar="NAME=FOLDER", help="generated images of each class")
    p.add_argument("--features", choices=["nano", "imagenet"], default="nano",
                   help="frozen network: that of --weights, or benchmarks/imagenet.py's")
    p.add_argument("--per-class", type=positive, help="use so many real training images a class, and only what was "
                                                      "generated from these (default: all)")
    p.add_argument("--draws", type=positive, default=1, help="how often --per-class real images are drawn")
    p.add_argument("--number", type=positive, help="generated images a class (default: all that there are)")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--out", type=Path, help="CSV file for the figures")
    args = p.parse_args(argv)
    if args.draws > 1 and not args.per_class:
        raise UserError(f"--draws {args.draws} needs --per-class N: without it, each draw is all real images.")
    return args


def main(argv: list[str] | None = None) -> None:
    settings = ProbeSettings(**vars(parse(argv)))
    folders = list_categories(settings.data)
    split = load_split(split_file(folders[0]), folders)
    sets = open_sets(settings.generated, folders, split)
    read = open_features(settings)
    real = open_real(folders, split, read)
    draws = [choose_real(real.train, 1.0, settings.per_class, draw) for draw in range(settings.draws)]
    outcomes = [try_sets(settings, sets, real, drawn, read) for drawn in draws]
    rows = summarise(outcomes, real)
    for name, generated in sets.items():
        if unseen := max(len(generated.seen - {sha256(f) for files in drawn for f in files}) for drawn in draws):
            print(f"what made the images of {name} has seen {unseen} real images that {REAL_ALONE} has not: no fair "
                  "comparison")
    if settings.out:
        write_csv(settings.out, COLUMNS, rows)


# ---- images and features ----------------------------------------------------------------------------------------


def open_sets(items: Sequence[str], folders: Sequence[Path], split: Split) -> dict[str, GeneratedSet]:
    """The generated images of each NAME=FOLDER, after the set without any. Leaks are refused."""
    sets = {REAL_ALONE: GeneratedSet([[] for _ in folders], frozenset())}
    for item in items:
        name, _, where = item.partition("=")
        if not (name and where) or name in sets:
            raise UserError(f"{item} is not NAME=FOLDER with a name of its own.")
        before, _, after = where.partition("*")
        images, seen, settings = [], frozenset(), []
        for folder in folders:
            found = find_generated(Path(before), folder.resolve().name, split, after.strip("/") or "samples")
            manifest = found.files[0].parent / "manifest.csv"
            sources = {row["file"]: row["source"] for row in read_csv(manifest)} if manifest.is_file() else {}
            images.append([Made(file, sources.get(file.name, "")) for file in found.files])
            seen |= found.seen or frozenset()
            settings.append(found.settings)
        if unlike := unlike_settings([folder.resolve().name for folder in folders], settings):
            print(f"warning: the images of {name} were not made alike in all classes: {'; '.join(unlike)}")
        sets[name] = GeneratedSet(images, seen)
    return sets


def open_features(settings: ProbeSettings) -> Reader:
    """What reads features. They are kept in runs/features from call to call."""
    imagenet = settings.features == "imagenet"
    network = ImageNetFeatures() if imagenet else load_feature_network(settings.weights / "features.safetensors")
    key = network_key(settings.features, network)

    def read(files: Sequence[Path]) -> Tensor:
        features = cached_features(files, lambda missing: nano_features(missing, network, progress="features"), key)
        return features.double()

    return read


def open_real(folders: Sequence[Path], split: Split, read: Reader) -> RealImages:
    """The three parts of the split."""
    parts = {part: [part_files(split, folder, part) for folder in folders] for part in PARTS}
    x_val, y_val = as_tensors(parts["val"], read)
    x_test, y_test = as_tensors(parts["test"], read)
    return RealImages(parts["train"], x_val, y_val, x_test, y_test, surfaces(parts["test"], split))


def choose_made(images: Sequence[Made], real: Sequence[Path], some: bool) -> list[Path]:
    """The generated files whose source is among the real ones. `some`: leave out those without a source."""
    names = {source_name(file) for file in real}
    return [made.file for made in images if made.source in names or not (made.source or some)]


# ---- one draw ---------------------------------------------------------------------------------------------------


def try_sets(settings: ProbeSettings, sets: Mapping[str, GeneratedSet], real: RealImages, drawn: list[list[Path]],
             read: Reader) -> dict[str, Outcome]:
    """The outcome of each set, added to one draw of real images."""
    x_drawn, _ = as_tensors(drawn, read)
    mean, std = x_drawn.mean(dim=0), deviations(x_drawn)

    def features(files: FilesByClass) -> tuple[Tensor, Tensor]:
        x, y = as_tensors(files, read)
        return (x - mean) / std, y

    x_val, x_test = (real.x_val - mean) / std, (real.x_test - mean) / std
    outcomes, by_real_images = {}, None
    for name, generated in sets.items():
        extra = [choose_made(images, files, bool(settings.per_class))[:settings.number]
                 for images, files in zip(generated.images, drawn)]
        x, y = features([files + more for files, more in zip(drawn, extra)])
        fits = fit(x, y, len(drawn), PENALTIES)
        losses = losses_of(fits, x_val, real.y_val).tolist()
        weight, bias = fits[losses.index(min(losses))]
        by_real_images = by_real_images or (weight, bias)  # the first set holds real images alone
        logits = x_test @ weight + bias
        recognised = share_recognised(by_real_images, *features(extra)) if any(extra) else None
        outcomes[name] = Outcome((logits.argmax(dim=1) == real.y_test).int().tolist(), len(y), min(losses),
                                 float(F.cross_entropy(logits, real.y_test)), recognised)
    return outcomes


def share_recognised(linear: tuple[Tensor, Tensor], x: Tensor, y: Tensor) -> float:
    """The share of x (N, d) that a linear map (W, b) takes for its class y (N,)."""
    weight, bias = linear
    return float(((x @ weight + bias).argmax(dim=1) == y).double().mean())


# ---- figures ----------------------------------------------------------------------------------------------------


def summarise(outcomes: Sequence[Mapping[str, Outcome]], real: RealImages) -> list[list[str]]:
    """Print a line for each set, mean over draws, and return the rows of the CSV file."""
    print(f"{len(outcomes)} draw(s) of real images, {len(real.y_test)} test images; accuracy in percent, differences "
          "in points")
    print(f"{'':16}  images  accuracy  against none: 95 % interval, p   cross-entropy of test, validation  recognised")
    rows, alone = [], [draw[REAL_ALONE].correct for draw in outcomes]
    for name in outcomes[0]:
        own = [draw[name] for draw in outcomes]
        c = compare([one.correct for one in own], alone, real.test_groups)
        accuracy = mean([share for one in own for share in one.correct])
        images = mean([one.training_images for one in own])
        test_loss, validation_loss = mean([one.test_loss for one in own]), mean([one.validation_loss for one in own])
        shares = [one.recognised for one in own if one.recognised is not None]
        figures = (accuracy, c.difference, c.low, c.high, c.p, test_loss, validation_loss)
        rows.append([name, f"{images:g}", *(f"{v:.4f}" for v in figures), f"{mean(shares):.4f}" if shares else ""])
        against = f"{100 * c.difference:+6.2f}: {100 * c.low:+6.2f} to {100 * c.high:+6.2f}, {c.p:.3f}"
        print(f"{name:16} {images:7g} {100 * accuracy:9.2f}  {against if name != REAL_ALONE else '':34} "
              f"{test_loss:9.4f} {validation_loss:9.4f}" + (f"  {100 * mean(shares):9.2f}" if shares else ""))
    return rows


def mean(values: Sequence[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)


if __name__ == "__main__":
    run_main(main)
