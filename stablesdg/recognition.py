"""The arms of the recognition experiment: which images each trains on, and what is kept of its result."""
import hashlib
import random
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from .classifiers import load_images
from .compare import compare, interval, verdict
from .data import augment, list_images, save_image
from .files import UserError, read_csv, read_json, sha256, write_csv, write_json
from .split import refuse_leak

CONTROLS = ("steps", "copies", "classic")
HEADER = ("network", "arm", "alpha", "per_class", "split", "seed", "epochs", "n_real", "n_generated", "best_epoch",
          "val_accuracy", "test_accuracy")


def generated_files(folder, name, split, samples="samples"):
    """The generated images of one class; refuses those made from images that are not in the training part.

    folder  a run folder of the data set (its CATEGORY/samples), or any folder of class folders
    """
    inside = folder / name / samples
    if not inside.is_dir():
        inside = folder / name
        if (inside / "run.json").is_file() or samples == "copies":
            how = " --strength 0" * (samples == "copies")
            raise UserError(f"{inside} has no {samples} yet: run python sample.py --run {inside}{how} --out {inside / samples}"
                            " --number N.")
        if not inside.is_dir():
            raise UserError(f"{folder} has no folder {name}: pass the run folder of the data set, or a folder of class folders.")
    manifest, settings = inside / "manifest.csv", inside / "settings.json"
    for row in read_csv(manifest) if manifest.is_file() else []:
        part = split["files"].get(row["source"], {}).get("part", "train")
        if row["source"] and part != "train":
            raise UserError(f"{inside / row['file']} was generated from {row['source']}, which is in the {part} part of the "
                            "split: generate again from training images.")
    if settings.is_file():
        refuse_leak(read_json(settings).get("seen", ()), split, f"What made {inside}")
    return list_images(inside)


def as_many(copies, generated):
    """The first of each class's round trips, as many as there are generated images."""
    for own, made in zip(copies, generated):
        if len(own) < len(made):
            raise UserError(f"{own[0].parent} holds {len(own)} round trips for {len(made)} generated images: make them with "
                            f"sample.py --strength 0 --number {len(made)}.")
    return [own[:len(made)] for own, made in zip(copies, generated)]


def draw_real(train, alpha, per_class, seed):
    """The share alpha, or per_class images, of each class's training images: [[file, ..], ..], the same for every arm."""
    kept = []
    for k, files in enumerate(train):
        n = min(per_class, len(files)) if per_class else max(1, round(alpha * len(files)))
        kept.append(sorted(random.Random(seed * 1000 + k).sample(files, n)))
    return kept


def draw_extra(arm, train, real, generated, number, seed):
    """Generated images of each class for an arm: as many as real ones are missing, or all (at most `number`)."""
    extra = []
    for k, files in enumerate(generated):
        n = min(len(files), number or len(files))
        if arm == "substitute":
            n = len(train[k]) - len(real[k])
            if n > len(files):
                raise UserError(f"Substitution needs {n} generated images of a class, but there are {len(files)} in "
                                f"{files[0].parent}: run sample.py --number {n}.")
        extra.append(sorted(random.Random(seed * 1000 + 500 + k).sample(files, n)))
    return extra


def as_tensors(files_by_class):
    """[[files of class 0], ..] -> images uint8 (N, 3, 200, 200), classes (N,)."""
    y = torch.cat([torch.full((len(files),), k) for k, files in enumerate(files_by_class)])
    if not len(y):
        raise UserError("A part of the split is empty: each class needs at least three images that do not overlap.")
    return load_images([file for files in files_by_class for file in files]), y


def training_set(arm, train, generated, alpha, per_class, number, seed):
    """What an arm trains on with one seed: images uint8 (N, 3, 200, 200), classes (N,), how many of them are real, and how
    many images it adds to those, or would add if it were not a control."""
    real = draw_real(train, alpha, per_class, seed)
    extra = draw_extra(arm, train, real, generated, number, seed)
    n_real, n_extra = sum(map(len, real)), sum(map(len, extra))
    if arm == "synthetic":
        return *as_tensors(extra), 0, n_extra
    if arm in ("substitute", "expand", "copies"):
        return *as_tensors([r + e for r, e in zip(real, extra)]), n_real, n_extra
    x, y = as_tensors(real)
    if arm == "classic":
        more = classic_copies(x, y, [len(files) for files in extra], seed)
        x, y = torch.cat([x, more[0]]), torch.cat([y, more[1]])
    return x, y, n_real, n_extra


def classic_copies(x, y, counts, seed):
    """counts[k] classically augmented images of class k, drawn from x of that class: (M, 3, 200, 200) uint8, (M,)."""
    generator, made, classes = torch.Generator().manual_seed(seed), [], []
    for k, count in enumerate(counts):
        own = (y == k).nonzero()[:, 0]
        for index in own[torch.randint(0, len(own), (count,), generator=generator)]:
            image = augment(x[index].float() / 127.5 - 1, int(torch.randint(0, 2**31, (), generator=generator)))
            made.append(((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
            classes.append(k)
    return (torch.stack(made) if made else x[:0]), torch.tensor(classes, dtype=torch.long)


# ---- results ----------------------------------------------------------------------------------------------------


def digest(*parts):
    """sha256 of all images of all parts, [[file, ..] of each class], in their order."""
    hashes = [sha256(file) for part in parts for files in part for file in files]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def earlier_seeds(file, result):
    """`result`, or what an earlier call with the same settings and images has left of it in `file`."""
    if not file.is_file():
        return result
    earlier = read_json(file)
    grows, free = ("rows", "correct", "confusion", "n_extra", "arguments"), ("seeds", "resume", "out")
    same = [{k: v for k, v in r.items() if k not in grows} | {k: v for k, v in r["arguments"].items() if k not in free}
            for r in (earlier, result)]
    if same[0] != same[1]:
        raise UserError(f"{file} was made with other settings or images: leave out --resume to make it anew.")
    return earlier | {"arguments": result["arguments"]}


def save_result(out, stem, result):
    """STEM.json, a row a seed in results.csv, the confusion matrix as CSV and picture."""
    write_json(out / f"{stem}.json", result)
    rows = [row for row in (read_csv(out / "results.csv") if (out / "results.csv").is_file() else [])
            if {k: row.get(k) for k in HEADER[:5]} != {k: str(result["rows"][0][k]) for k in HEADER[:5]}]
    write_csv(out / "results.csv", HEADER, [[row[k] for k in HEADER] for row in rows + result["rows"]])
    total = torch.tensor(result["confusion"]).sum(dim=0)
    write_csv(out / f"confusion-{stem}.csv", ["true \\ predicted", *result["classes"]],
              [[name, *row] for name, row in zip(result["classes"], total.tolist())])
    save_image(out / f"confusion-{stem}.png", confusion_picture(total, result["classes"], stem))


def describe(result):
    """Accuracy with its interval, and each class's."""
    mean, sd, low, high = interval(result["correct"], result["test_groups"])
    seeds = len(result["correct"])
    total = torch.tensor(result["confusion"]).sum(dim=0).double()
    shares = total.diag() / total.sum(dim=1).clamp(min=1)
    return (f"{result['arm']}: test accuracy {mean:.4f}" + (f" +- {sd:.4f} (sd of {seeds} seeds)" if seeds > 1 else "")
            + f", 95 % interval {low:.3f} to {high:.3f} ({len(result['test_files'])} images); by class: "
            + ", ".join(f"{name} {share:.3f}" for name, share in zip(result["classes"], shares)))


def verdicts(out, result):
    """A sentence for every other arm in `out` with the same network, training, amount of real images and test images."""
    sentences = []
    for file in sorted(Path(out).glob(f"{result['network']}-*.json")):
        other = read_json(file)
        alike = (all(other[k] == result[k] for k in ("alpha", "per_class", "test_files", "dtype"))
                 and all(other["arguments"][k] == result["arguments"][k] for k in ("epochs", "patience", "pretrained"))
                 and (other["n_extra"] == result["n_extra"] or not {other["arm"], result["arm"]} <= {"expand", *CONTROLS}))
        if other["arm"] != result["arm"] and alike:
            comparison = compare(result["correct"], other["correct"], result["test_groups"])
            sentences.append(verdict(result["arm"], other["arm"], comparison))
    return sentences


def confusion_picture(total, classes, title, cell=56):
    """True classes down, predicted ones across; the darker, the larger the share of the true class."""
    side = 80 + cell * len(classes)
    picture = Image.new("RGB", (side + 10, side + 10), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    pen.text((8, 6), f"{title}: true down, predicted across", fill=(40, 40, 40))
    for r, row in enumerate(total.tolist()):
        pen.text((8, 80 + cell * r + 20), classes[r][:10], fill=(40, 40, 40))
        pen.text((80 + cell * r + 6, 58), classes[r][:8], fill=(40, 40, 40))
        for c, value in enumerate(row):
            share = value / max(1, sum(row))
            box = (80 + cell * c, 80 + cell * r, 80 + cell * (c + 1) - 2, 80 + cell * (r + 1) - 2)
            pen.rectangle(box, fill=(round(250 - 180 * share), round(250 - 130 * share), round(252 - 60 * share)))
            pen.text((box[0] + 18, box[1] + 20), str(value), fill=(255, 255, 255) if share > 0.6 else (40, 40, 40))
    return picture
