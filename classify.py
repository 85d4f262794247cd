"""Recognition: train a defect classifier on real, substituted or expanded training sets and test it once.

    python classify.py --data neu --network squeezenet --mode none --alpha 1
    python classify.py --data neu --network squeezenet --mode expand --alpha 0.4 --generated runs/neu

alpha is the share of the real training images that is used, drawn anew for each seed and the same for each mode:

    none         those real images alone
    substitute   for every real image left out, a generated one of its class (Fig. 9)
    expand       those real images and all generated ones (Tables VI and VIII)

Validation and test images are always real, and never served as sources of generated ones.
"""
from pathlib import Path

from stablesdg import run
from stablesdg.files import UserError

HEADER = ("network", "mode", "alpha", "seed", "epochs", "n_real", "n_generated", "best_epoch", "val_accuracy",
          "test_accuracy")


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python classify.py --data neu --generated runs/neu --network squeezenet "
                                            "--alpha 0.4 --mode expand")
    p.add_argument("--data", type=Path, required=True, help="folder with one folder of real images for each class")
    p.add_argument("--generated", type=Path, help="run folder of the data set (runs/neu), or any folder of class folders")
    p.add_argument("--network", default="squeezenet", choices=["alexnet", "vgg", "resnet", "squeezenet", "densenet"],
                   help="AlexNet, VGG-16, ResNet-18, SqueezeNet 1.1 or DenseNet-121")
    p.add_argument("--mode", default="none", choices=["none", "substitute", "expand"], help="what generated images are for")
    p.add_argument("--alpha", type=float, default=0.4, help="share of the real training images that is used")
    run.add_split(p)
    p.add_argument("--epochs", type=run.positive, default=50, help="passes over the training set")
    p.add_argument("--seeds", type=run.positive, default=1, help="runs with seeds 0, 1, ..")
    p.add_argument("--pretrained", type=Path, help="local torchvision state dict to start from (default: random)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--out", type=Path, help="folder for results.csv and results.json (default: runs/DATASET/classify)")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if not 0 < args.alpha <= 1:
        raise UserError(f"--alpha {args.alpha} is not a share in (0, 1].")
    if (args.mode == "none") == bool(args.generated):
        raise UserError("--mode substitute and expand need --generated FOLDER; --mode none takes none.")

    import torch

    from stablesdg import classifiers
    from stablesdg.data import list_categories
    from stablesdg.files import read_csv, write_csv, write_json
    from stablesdg.split import PARTS, load_split, part_files

    device = run.pick_device(args.device)
    folders = list_categories(args.data)
    classes = [folder.name for folder in folders]
    out = args.out or run.RUNS / args.data.resolve().name / "classify"
    split = load_split(run.split_file(folders[0]), folders, args.split)
    parts = {part: [part_files(split, folder, part) for folder in folders] for part in PARTS}
    generated = [generated_files(args.generated, name, split) for name in classes] if args.generated else None
    print(f"{len(classes)} classes; images: " + ", ".join(f"{sum(map(len, parts[part]))} {part}" for part in PARTS))
    x_val, y_val = as_tensors(parts["val"])
    x_test, y_test = as_tensors(parts["test"])

    rows, confusions = [], []
    for seed in range(args.seeds):
        real, extra = training_files(parts["train"], generated, args.mode, args.alpha, seed)
        n_real, n_generated = sum(map(len, real)), sum(map(len, extra))
        print(f"seed {seed}: training on {n_real} real and {n_generated} generated images")
        x, y = as_tensors([r + e for r, e in zip(real, extra)])
        torch.manual_seed(seed)
        model = classifiers.build(args.network, len(classes), args.pretrained)
        best, history = classifiers.train(model, x, y, x_val, y_val, epochs=args.epochs, seed=seed, device=device,
                                          label=f"{args.network} {args.mode} seed {seed}")
        model.load_state_dict(best)
        predicted = classifiers.predict(model, x_test, device).argmax(dim=1)
        confusion = torch.bincount(y_test * len(classes) + predicted, minlength=len(classes) ** 2).view(len(classes), -1)
        accuracy = float((predicted == y_test).float().mean())
        epoch = history.index(max(history)) + 1
        print(f"seed {seed}: test accuracy {accuracy:.4f} ({len(y_test)} images) at epoch {epoch}, "
              f"best of {args.epochs} on validation ({max(history):.4f})")
        rows.append((args.network, args.mode, args.alpha, seed, args.epochs, n_real, n_generated, epoch,
                     f"{max(history):.6f}", f"{accuracy:.6f}"))
        confusions.append(confusion.tolist())

    report(classes, rows, confusions)
    before = read_csv(out / "results.csv") if (out / "results.csv").is_file() else []
    write_csv(out / "results.csv", HEADER, [tuple(row[k] for k in HEADER) for row in before] + rows)
    write_json(out / "results.json", {"arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()},
                                      "classes": classes, "rows": [dict(zip(HEADER, row)) for row in rows],
                                      "confusion": confusions})
    print(f"appended to {out / 'results.csv'}")


def as_tensors(files_by_class):
    """[[files of class 0], ..] -> images uint8 (N, 3, 200, 200), classes (N,)."""
    import torch

    from stablesdg.classifiers import load_images

    y = torch.cat([torch.full((len(files),), k) for k, files in enumerate(files_by_class)])
    if not len(y):
        raise UserError("A part of the split is empty: each class needs at least three images.")
    return load_images([file for files in files_by_class for file in files]), y


def generated_files(folder, name, split):
    """The generated images of one class; refuses those whose source is not a training image."""
    from stablesdg.data import list_images
    from stablesdg.files import read_csv, read_json
    from stablesdg.split import refuse_leak

    samples = folder / name / "samples"
    if not samples.is_dir():
        samples = folder / name
        if (samples / "run.json").is_file():
            raise UserError(f"{samples} has no samples yet: run python sample.py --run {samples}.")
    manifest = samples / "manifest.csv"
    for row in read_csv(manifest) if manifest.is_file() else []:
        part = split["files"].get(row["source"], {}).get("part", "train")
        if row["source"] and part != "train":
            raise UserError(f"{samples / row['file']} was generated from {row['source']}, which is in the {part} part "
                            "of the split: generate again from training images.")
    if (samples / "settings.json").is_file():
        refuse_leak(read_json(samples / "settings.json").get("seen", ()), split, f"What made {samples}")
    return list_images(samples)


def training_files(train, generated, mode, alpha, seed):
    """([real files a class], [generated files a class]) for a mode; at least one real image of each class stays."""
    import random

    real, extra = [], []
    for k, files in enumerate(train):
        draw = random.Random(seed * 1000 + k)
        kept = sorted(draw.sample(files, max(1, round(alpha * len(files)))))
        real.append(kept)
        if mode == "none":
            extra.append([])
        elif mode == "expand":
            extra.append(generated[k])
        else:
            missing = len(files) - len(kept)
            if missing > len(generated[k]):
                raise UserError(f"Substitution at alpha = {alpha} needs {missing} generated images of a class, but there "
                                f"are {len(generated[k])} in {generated[k][0].parent}: run sample.py --number {missing}.")
            extra.append(sorted(draw.sample(generated[k], missing)))
    return real, extra


def report(classes, rows, confusions):
    """Mean and standard deviation over seeds, and the share of each class that was recognised."""
    from statistics import mean, stdev

    accuracies = [float(row[-1]) for row in rows]
    spread = f" +- {stdev(accuracies):.4f} (sd of {len(rows)} seeds)" if len(rows) > 1 else ""
    print(f"test accuracy {mean(accuracies):.4f}{spread}; by class: " + ", ".join(
        f"{name} {mean(c[k][k] / max(1, sum(c[k])) for c in confusions):.3f}" for k, name in enumerate(classes)))


if __name__ == "__main__":
    run.main(main)
