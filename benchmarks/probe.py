"""Does generated data help, seen without the noise of training? A linear classifier on the features of a frozen network.

    python benchmarks/probe.py neu expand=runs/neu "copies=runs/neu/*/copies" --features imagenet

Logistic regression has one optimum, whatever the seed, the order of images and the number of steps: two training sets can be
compared far more finely than by networks trained from random weights, and in minutes. Each NAME=FOLDER are generated images
to add to the real training images: a run folder of the data set, a folder of class folders, or a path in which * stands for
the class. Every set of images is compared with the real images alone; the penalty on weights is the one of least
cross-entropy on the validation part. "Recognised" is the share of a set's images that the classifier of the real images alone
takes for their own class: those it does not are wrong labels, as far as it can tell.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch.nn import functional as F

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.app.paths import split_file
from stablesdg.data.folders import list_categories
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_csv, sha256, write_csv

PENALTIES = [10.0**k for k in range(1, -5, -1)]
LEAST = 0.1  # of the mean standard deviation: a feature that few real images have must not outweigh all others where it occurs


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], 'python benchmarks/probe.py neu expand=runs/neu "copies=runs/neu/*/copies"')
    p.add_argument("data", type=Path, help="data set: a folder with one folder of images for each class")
    p.add_argument("generated", nargs="+", metavar="NAME=FOLDER", help="generated images of each class")
    p.add_argument("--features", choices=["nano", "imagenet"], default="nano",
                   help="frozen network: that of --weights, or benchmarks/imagenet.py's")
    p.add_argument("--per-class", type=positive, help="so many real training images a class, and only what was generated "
                                                          "from these (default: all)")
    p.add_argument("--draws", type=positive, default=1, help="of --per-class real images")
    p.add_argument("--number", type=positive, help="generated images a class (default: all that there are)")
    p.add_argument("--weights", type=Path, default=Path("weights/nano"))
    p.add_argument("--out", type=Path, help="a CSV file for the figures")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if args.draws > 1 and not args.per_class:
        raise UserError(f"--draws {args.draws} needs --per-class N: without it, each draw is all real images.")

    from stablesdg.data.split import PARTS, load_split, part_files
    from stablesdg.recognise.arms import as_tensors, draw_real, surfaces
    from stablesdg.recognise.significance import compare

    folders = list_categories(args.data)
    split = load_split(split_file(folders[0]), folders)
    parts = {part: [part_files(split, folder, part) for folder in folders] for part in PARTS}
    sets, seen = {"none": [[] for _ in folders]}, {}
    for item in args.generated:
        name, equals, where = item.partition("=")
        if not (name and equals and where) or name in sets:
            raise UserError(f"{item} is not NAME=FOLDER with a name of its own.")
        made = [made_of(where, folder.resolve().name, split) for folder in folders]
        sets[name], seen[name] = [pairs for pairs, _ in made], set().union(*(digests or () for _, digests in made))
    features = reader(args)
    x_val, y_val = as_tensors(parts["val"], features)
    x_test, y_test = as_tensors(parts["test"], features)
    correct, losses, unseen = {name: [] for name in sets}, {name: [] for name in sets}, {}
    recognised = {name: [] for name in sets}
    for draw in range(args.draws):
        real = draw_real(parts["train"], 1.0, args.per_class, draw)
        drawn = {sha256(file) for files in real for file in files}
        unseen = {name: max(unseen.get(name, 0), len(digests - drawn)) for name, digests in seen.items()}
        scale = as_tensors(real, features)[0]
        mean, std = scale.mean(dim=0), scale.std(dim=0)
        std = std.clamp(min=LEAST * std.mean())
        for name, made in sets.items():
            extra = [those_of(pairs, files, bool(args.per_class))[:args.number] for pairs, files in zip(made, real)]
            x, y = as_tensors([files + more for files, more in zip(real, extra)], features)
            fits = fit((x - mean) / std, y, len(folders), PENALTIES)
            of_val = [float(F.cross_entropy(linear((x_val - mean) / std), y_val)) for linear in fits]
            linear = fits[of_val.index(min(of_val))]
            logits = linear((x_test - mean) / std)
            correct[name].append((logits.argmax(dim=1) == y_test).int().tolist())
            losses[name].append((min(of_val), float(F.cross_entropy(logits, y_test)), len(y)))
            if name == "none":
                by_real_images = linear
            elif any(extra):
                x, y = as_tensors(extra, features)
                recognised[name].append(float((by_real_images((x - mean) / std).argmax(dim=1) == y).double().mean()))
    groups, rows = surfaces(parts["test"], split), []
    print(f"{args.draws} draw(s) of real images, {len(y_test)} test images; accuracy in percent, differences in points")
    print(f"{'':16}  images  accuracy  against none: 95 % interval, p   cross-entropy of test, validation  recognised")
    for name in sets:
        c = compare(correct[name], correct["none"], groups)
        accuracy = sum(map(sum, correct[name])) / (args.draws * len(y_test))
        of_val, of_test, n = (sum(column) / args.draws for column in zip(*losses[name]))
        own = sum(recognised[name]) / len(recognised[name]) if recognised[name] else None
        rows.append((name, f"{n:g}", *(f"{v:.4f}" for v in (accuracy, c.difference, c.low, c.high, c.p, of_test, of_val)),
                     "" if own is None else f"{own:.4f}"))
        against = f"{100 * c.difference:+6.2f}: {100 * c.low:+6.2f} to {100 * c.high:+6.2f}, {c.p:.3f}"
        print(f"{name:16} {n:7g} {100 * accuracy:9.2f}  {against if name != 'none' else '':34} {of_test:9.4f} {of_val:9.4f}"
              + ("" if own is None else f"  {100 * own:9.2f}"))
    for name, n in unseen.items():
        if n:
            print(f"what made the images of {name} has seen {n} real images that none has not: no fair comparison")
    if args.out:
        write_csv(args.out, ("name", "training images", "accuracy", "difference from none", "low", "high", "p",
                             "test cross-entropy", "validation cross-entropy", "recognised"), rows)


def made_of(where, category, split):
    """([(generated file, name of its source or ""), ..], sha256 of the real images that made them or None) of one class."""
    from stablesdg.recognise.arms import generated_files

    before, _, after = where.partition("*")
    files, seen = generated_files(Path(before), category, split, after.strip("/") or "samples")
    manifest = files[0].parent / "manifest.csv"
    sources = {row["file"]: row["source"] for row in read_csv(manifest)} if manifest.is_file() else {}
    return [(file, sources.get(file.name, "")) for file in files], seen


def those_of(pairs, real, some):
    """The generated files whose source is among the real ones; those without one only if these are not just `some`."""
    names = {f"{file.parent.resolve().name}/{file.name}" for file in real}
    return [file for file, source in pairs if source in names or not (source or some)]


def reader(args):
    """A function of a list of files: their features (N, d), float64; kept in runs/features from call to call."""
    from stablesdg.evaluate.features import load_feature_network
    from stablesdg.evaluate.metrics import nano_features
    from stablesdg.evaluate.score import cached_features, network_key

    if args.features == "imagenet":
        from imagenet import ImageNetFeatures

        network = ImageNetFeatures()
    else:
        network = load_feature_network(args.weights / "features.safetensors")
    key = network_key(args.features, network)
    return lambda files: cached_features(files, lambda missing: nano_features(missing, network, progress="features"), key).double()


def fit(x, y, classes, penalties):
    """Multinomial logistic regression: functions from x to logits, one for the minimum of cross-entropy + penalty / 2 |W|^2 at
    each penalty. Each starts from the one before, so that a falling penalty takes few iterations."""
    weight = torch.zeros(x.shape[1], classes, dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    fits = []
    for penalty in penalties:
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=1000, tolerance_grad=1e-5, tolerance_change=0,
                                      line_search_fn="strong_wolfe")

        def loss():
            optimiser.zero_grad()
            value = F.cross_entropy(x @ weight + bias, y) + penalty / 2 * weight.square().sum()
            value.backward()
            return value

        optimiser.step(loss)
        fits.append(lambda x, weight=weight.detach().clone(), bias=bias.detach().clone(): x @ weight + bias)
    return fits


if __name__ == "__main__":
    run_main(main)
