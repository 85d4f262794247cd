"""Folders of generated images: found, checked against the split, and compared with those of the other classes."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.folders import list_images
from ..data.split import Split, kept_out, refuse_leak
from ..storage.errors import UserError
from ..storage.files import read_csv, read_optional_json, sha256
from .arms import FilesByClass

MUST_BE_ALIKE = {"resolution": "resolution", "sampler": "sampler", "steps": "steps of a full run",
                 "adapters": "adapters", "weights": "base weights", "dtype": "arithmetic", "uncond": "--uncond",
                 "compat": "--compat"}  # keys of settings.json, and what a sentence calls them
SHOWN_OF_A_VALUE = 20  # characters


@dataclass(frozen=True)
class GeneratedImages:
    """The generated images of one class."""
    files: list[Path]
    seen: frozenset[str] | None  # sha256 of the real images that had a part in them; None where nothing is written down
    settings: Mapping[str, Any]  # what settings.json says of how they were made; {} where there is none


def find_generated(folder: Path, category: str, split: Split, samples: str = "samples") -> GeneratedImages:
    """The generated images of one class.

    folder   a run folder of the data set (its CATEGORY/samples is read), or any folder of class folders
    samples  "samples", "copies" for the round trips through the VAE, or another folder of the run

    Raises UserError if one of them is a validation or test image. Where it is written down what made them, also if such
    an image is the source of one, or was seen by the adapters.
    """
    inside = find_samples(folder, category, samples)
    manifest, settings = inside / "manifest.csv", inside / "settings.json"
    if manifest.is_file():
        require_training_sources(inside, read_csv(manifest, ("file", "source")), split)
    made_with = read_optional_json(settings)
    seen = frozenset(made_with["seen"]) if "seen" in made_with else None
    refuse_leak(seen or (), split, f"What made {inside}")
    files = list_images(inside)
    if leaked := kept_out([sha256(file) for file in files], split):
        name, part = leaked[0]
        raise UserError(f"{inside} holds {name}, which is in the {part} part of the split: a classifier must not train "
                        "on what it is tested with.")
    return GeneratedImages(files, seen, made_with)


def find_samples(folder: Path, category: str, samples: str) -> Path:
    """CATEGORY/SAMPLES in a run folder of the data set, or CATEGORY in a folder of class folders."""
    inside = folder / category
    if (inside / samples).is_dir():
        return inside / samples
    if (inside / "run.json").is_file() or samples == "copies":
        how = " --strength 0" if samples == "copies" else ""
        raise UserError(f"{inside} has no {samples} yet: run python sample.py --run {inside}{how} --out "
                        f"{inside / samples} --number N.")
    if not inside.is_dir():
        raise UserError(f"{folder} has no folder {category}: pass the run folder of the data set, or a folder of class "
                        f"folders. If {category} needs no generated images, name it after --real-only.")
    return inside


def require_training_sources(folder: Path, rows: Sequence[Mapping[str, str]], split: Split) -> None:
    """Raise UserError if the source of an image, in these rows of a manifest, is not in the training part."""
    for row in rows:
        source = split["files"].get(row["source"])
        if source and source["part"] != "train":
            raise UserError(f"{folder / row['file']} was generated from {row['source']}, which is in the "
                            f"{source['part']} part of the split: generate again from training images.")


def as_many(copies: FilesByClass, generated: FilesByClass, number: int | None = None) -> list[list[Path]]:
    """The first round trips of each class: as many as there are generated images, or `number` if that is less."""
    kept = []
    for own, made in zip(copies, generated):
        n = min(len(made), number or len(made))
        if len(own) < n:
            raise UserError(f"{own[0].parent} holds {len(own)} round trips for {n} generated images: make them with "
                            f"sample.py --strength 0 --number {n}.")
        kept.append(list(own[:n]))
    return kept


# ---- made alike? ---------------------------------------------------------------------------------------------------


def unlike_settings(classes: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between the settings that the images of the classes were made with, apart from s and w.

    A classifier can learn such a difference, blur for example, in the place of the class. s and w are tuned for each
    class on purpose. Each difference is a text: "resolution 64 for pits, 128 for patches and scratches".
    """
    facts = [how_made(own) for own in settings]
    differences = []
    for label in dict.fromkeys(label for own in facts for label in own):
        by_value: dict[str, list[str]] = {}
        for name, own in zip(classes, facts):
            if label in own:
                by_value.setdefault(own[label], []).append(name)
        if len(by_value) > 1:
            differences.append(f"{label} " + ", ".join(f"{value} for {' and '.join(names)}"
                                                       for value, names in by_value.items()))
    return differences


def how_made(settings: Mapping[str, Any]) -> dict[str, str]:
    """What must be alike for all classes, in words, of one class's settings.json."""
    if not settings:
        return {"settings.json": "missing"}
    if settings.get("classic"):
        return {"settings.json": "there", "method": "rotation and mirroring"}
    if settings.get("compose"):
        return {"settings.json": "there", "method": "composed"}
    round_trip = "a round trip without noise (s = 0)" if settings.get("s") == 0 else "from images"
    return {"settings.json": "there", "method": "from noise" if settings.get("from_noise") else round_trip,
            **{label: short_value(settings[key]) for key, label in MUST_BE_ALIKE.items() if key in settings},
            "adapter files": str(len(settings.get("adapter_files", ())))}


def short_value(value: object) -> str:
    """A setting for a sentence. Of a SHA-256, the first characters."""
    return "the model's own" if value is None else str(value).removeprefix("torch.")[:SHOWN_OF_A_VALUE]
