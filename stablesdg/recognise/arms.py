"""The arms of the recognition experiment: which images each trains on, and what is kept of its result."""
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from PIL import Image, ImageDraw

from ..data.folders import list_images
from ..data.images import augment, save_image
from ..data.split import find_groups, kept_out, refuse_leak
from ..storage.errors import UserError
from ..storage.files import read_csv, read_json, sha256, write_csv, write_json
from .classifiers import load_images
from .significance import compare, holm, interval, verdict

CONTROLS = ("steps", "copies", "classic")
HEADER = ("network", "name", "alpha", "per_class", "split", "arm", "seed", "epochs", "steps", "n_real", "n_generated",
          "best_epoch", "val_accuracy", "test_accuracy")


def generated_files(folder, name, split, samples="samples"):
    """The generated images of one class, and the sha256 of the real ones that made them: None where nothing is written down.

    folder  a run folder of the data set (its CATEGORY/samples), or any folder of class folders
    Raises UserError for images that are validation or test images, and, where that is written down, for images that were
    made from some or by adapters that have seen some.
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
    seen = set(read_json(settings).get("seen", ())) if settings.is_file() else set() if manifest.is_file() else None
    refuse_leak(seen or (), split, f"What made {inside}")
    files = list_images(inside)
    if leaked := kept_out(map(sha256, files), split):
        raise UserError(f"{inside} holds {leaked[0][0]}, which is in the {leaked[0][1]} part of the split: a classifier must "
                        "not train on what it is tested with.")
    return files, seen


def as_many(copies, generated, number=None):
    """The first of each class's round trips, as many as there are generated images, or `number` if that is less."""
    wanted = [min(len(made), number or len(made)) for made in generated]
    for own, n in zip(copies, wanted):
        if len(own) < n:
            raise UserError(f"{own[0].parent} holds {len(own)} round trips for {n} generated images: make them with "
                            f"sample.py --strength 0 --number {n}.")
    return [own[:n] for own, n in zip(copies, wanted)]


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


def as_tensors(files_by_class, load=load_images):
    """[[files of class 0], ..] -> what `load` makes of them, images uint8 (N, 3, 200, 200), and classes (N,)."""
    y = torch.cat([torch.full((len(files),), k) for k, files in enumerate(files_by_class)])
    return load([file for files in files_by_class for file in files]), y


@dataclass
class TrainingSet:
    """What an arm trains on with one seed."""
    x: torch.Tensor  # uint8 (N, 3, 200, 200)
    y: torch.Tensor  # classes (N,)
    real: list  # [[file, ..] of each class]: the share of real images that the seed draws, whether the arm uses them or not
    n_real: int  # how many of the N are real
    n_extra: int  # images that the arm adds to the real ones


def training_set(arm, train, generated, alpha, per_class, number, seed):
    """The TrainingSet of an arm; `train` and `generated` are [[file, ..] of each class]."""
    real = draw_real(train, alpha, per_class, seed)
    extra = draw_extra(arm, train, real, generated, number, seed)
    n_real, n_extra = sum(map(len, real)), sum(map(len, extra))
    if arm == "synthetic":
        return TrainingSet(*as_tensors(extra), real, 0, n_extra)
    if arm == "steps":
        extra = [see_again(own, len(made), seed) for own, made in zip(real, extra)]
    if arm == "substitute" and not n_extra:
        raise UserError(f"Of {n_real} real images none is left out, so there is nothing to substitute: lower --alpha or "
                        "--per-class.")
    if arm in ("substitute", "expand", "copies", "steps"):
        return TrainingSet(*as_tensors([r + e for r, e in zip(real, extra)]), real, n_real, n_extra)
    x, y = as_tensors(real)
    if arm == "classic":
        more = classic_copies(x, y, [len(files) for files in extra], seed)
        x, y = torch.cat([x, more[0]]), torch.cat([y, more[1]])
    return TrainingSet(x, y, real, n_real, n_extra)


def see_again(files, number, seed):
    """`number` of the files, each as often as any other or once more."""
    order = random.Random(seed).sample(files, len(files))
    return [order[i % len(order)] for i in range(number)]


def classic_copies(x, y, counts, seed):
    """counts[k] classically augmented images of class k, drawn from x of that class: (M, 3, 200, 200) uint8, (M,)."""
    generator, made, classes = torch.Generator().manual_seed(seed), [], []
    for k, count in enumerate(counts):
        own = (y == k).nonzero()[:, 0]
        for index in own[torch.randint(0, len(own), (count,), generator=generator)]:
            image = augment(x[index].float() / 127.5 - 1, int(torch.randint(0, 2**31, (), generator=generator)))
            made.append(((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
            classes.append(k)
    return torch.stack(made), torch.tensor(classes, dtype=torch.long)


def surfaces(test, split):
    """The group of each test image, [[file, ..] of each class] -> [group, ..]: which images cannot be told apart by chance.

    A group split knows them; under a random split, overlapping test images are found here.
    """
    names = [{f"{files[0].parent.resolve().name}/{file.name}": file for file in files} for files in test]
    if split["method"] == "group":
        return [split["files"][name]["group"] for files in names for name in files]
    return [group for files in names for group in find_groups(files)[0].values()]


# ---- results ----------------------------------------------------------------------------------------------------


def digest(*parts):
    """sha256 of all images of all parts, [[file, ..] of each class], in their order."""
    hashes = [sha256(file) for part in parts for files in part for file in files]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def changed_settings(file, result):
    """What the result in `file` was made with and `result` is not: [name, ..]; [] if there is none."""
    grows = ("rows", "correct", "confusion", "n_extra", "unseen", "summary", "verdicts", "arguments")
    free = ("seeds", "resume", "out")
    if not file.is_file():
        return []
    before, now = [{k: v for k, v in (r["arguments"] | r).items() if k not in (*grows, *free)}
                   for r in (read_json(file), result)]
    return sorted(k for k in now if before.get(k) != now[k])


def earlier_seeds(file, result, resume):
    """`result`, or with `resume` what an earlier call with the same settings and images has left of it in `file`."""
    changed = changed_settings(file, result)
    if resume and changed:
        raise UserError(f"{file} was made with other settings or images ({', '.join(changed)}): leave out --resume to make it "
                        "anew, or give this result a --name of its own.")
    if changed:
        print(f"{file} was made with other settings or images ({', '.join(changed)}) and will be replaced; --name NAME keeps "
              "both")
    return read_json(file) | {"arguments": result["arguments"]} if resume and file.is_file() else result


def save_result(out, stem, result):
    """STEM.json, a row a seed in results.csv, the confusion matrix as CSV and picture; returns `result` with its summary and
    its verdicts against the other results in `out`."""
    result = result | {"summary": summarise(result), "verdicts": verdicts(out, result)}
    write_json(out / f"{stem}.json", result)
    rows = [row for row in (read_csv(out / "results.csv") if (out / "results.csv").is_file() else [])
            if {k: row.get(k) for k in HEADER[:5]} != {k: str(result["rows"][0][k]) for k in HEADER[:5]}]
    write_csv(out / "results.csv", HEADER, [[row.get(k, "") for k in HEADER] for row in rows + result["rows"]])
    total = torch.tensor(result["confusion"]).sum(dim=0)
    write_csv(out / f"confusion-{stem}.csv", ["true \\ predicted", *result["classes"]],
              [[name, *row] for name, row in zip(result["classes"], total.tolist())])
    save_image(out / f"confusion-{stem}.png", confusion_picture(total, result["classes"], stem))
    return result


def summarise(result):
    """{"mean", "sd" over seeds, "low", "high" of the 95 % interval, "by_class"} of a result's accuracies."""
    figures = zip(("mean", "sd", "low", "high"), interval(result["correct"], result["test_groups"]))
    total = torch.tensor(result["confusion"]).sum(dim=0).double()
    shares = total.diag() / total.sum(dim=1).clamp(min=1)
    return dict(figures) | {"by_class": dict(zip(result["classes"], shares.tolist()))}


def describe(result):
    """Accuracy with its interval, and each class's."""
    s, seeds = summarise(result), len(result["correct"])
    sd = f" +- {s['sd']:.4f} (sd of {seeds} seeds)" if seeds > 1 else ""
    return (f"{result['name']}: test accuracy {s['mean']:.4f}{sd}, 95 % interval {'of this one training ' * (seeds == 1)}"
            f"{s['low']:.3f} to {s['high']:.3f} ({len(result['test_files'])} images of {len(set(result['test_groups']))} surfaces)"
            "; by class: " + ", ".join(f"{name} {share:.3f}" for name, share in s["by_class"].items()))


def comparable(a, b):
    """Whether two results may be compared: same network, training, amount of real images and held-out images."""
    return (a["name"] != b["name"]
            and all(a.get(k) == b.get(k) for k in ("network", "alpha", "per_class", "held_out_sha256", "dtype",
                                                   "pretrained_sha256"))
            and all(a["arguments"][k] == b["arguments"][k] for k in ("epochs", "patience"))
            and (a["n_extra"] == b["n_extra"] or not {a["arm"], b["arm"]} & set(CONTROLS)
                 or {a["arm"], b["arm"]} & {"none", "synthetic", "substitute"}))


def verdicts(out, result):
    """[{"against", "difference", "low", "high", "p", "seeds", "adjusted_p", "sentence"}, ..]: `result` and every comparable one
    in `out`; where these are several, Holm's adjusted p decides."""
    return compare_all(result, [read_json(file) for file in sorted(Path(out).glob(f"{result['network']}-*.json"))])


def compare_all(result, others):
    """What `verdicts` returns, for those of `others` that are comparable with `result`."""
    others = [other for other in others if comparable(result, other)]
    found = [compare(result["correct"], other["correct"], result["test_groups"]) for other in others]
    return [{"against": other["name"], **vars(c), "adjusted_p": p,
             "sentence": verdict(result["name"], other["name"], c, p if len(found) > 1 else None) + advantages(result, other)}
            for other, c, p in zip(others, found, holm([c.p for c in found]))]


def advantages(a, b):
    """What one of two results had besides what its name says: more optimiser steps, more real images seen, a generator of
    which nothing is known."""
    said = ""
    for a, b in ((a, b), (b, a)):
        ratio = mean(row["steps"] for row in a["rows"]) / mean(row["steps"] for row in b["rows"])
        if ratio > 1.2 and a["arm"] != "steps":
            equal = "" if a["arguments"]["patience"] else "; --control steps makes that equal"
            said += f" {a['name']} took {ratio:.1f} times as many optimiser steps{equal}."
        if a["unseen"] and not b["unseen"]:
            said += (f" What made the images of {a['name']} has seen {a['unseen']} real images that {b['name']} has not: "
                     "no fair comparison.")
        if a.get("origin_unknown"):
            said += f" Nothing tells whether what made the images of {a['name']} has seen images of the test."
    return said


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
