"""The paper's Table II with weights/nano: which stages help, by FD-nano from noise and from images.

    python benchmarks/table2.py neu/Pa neu/Cr neu/Sc --seeds 2

The project's own command lines make every cell, run as a user would run them. What is finished is not run again. Two
rows are added to the paper's: full adaptation, and the same full training from random instead of pretrained weights.

The reference is the training part, as the paper is usually read. The adapters saw it. A distance falls when the number
of images grows. So every distance here is a mean over random draws of the same number of images on both sides. The
floor is such a mean, too: it compares real with other real images. A distance rewards copies. So novelty stands beside
it, and 0 is a copy of a training image (see stablesdg/evaluate/novelty.py). --imagenet also measures the same images by
an unrelated network (see stablesdg/evaluate/imagenet.py).
"""
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import torch
from jobs import ROOT, Job, keep_settings, run

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.app.paths import split_file
from stablesdg.data.split import load_split, part_files
from stablesdg.models.stable_diffusion import load_stable_diffusion
from stablesdg.models.unet import UNet
from stablesdg.storage.files import atomic_folder, read_csv, read_json, write_csv
from stablesdg.weights.configs import unet_arguments
from stablesdg.weights.export import save_half, save_half_text

ADAPTER_OF_STAGE = {"ti": "embedding", "lora": "lora", "full": "full"}
STARTS = ("noise", "images")
COLUMNS = ("network", "category", "row", "from noise", "from images", "each seed, noise", "each seed, images", "floor",
           "N", "novelty, noise", "novelty, images")
FIRST_SAMPLING_SEED = 100  # the seeds of training begin at 0


@dataclass(frozen=True)
class Row:
    """One row of the table: the training stages that its run folder needs, and the adapters that it samples with."""
    name: str
    stages: Sequence[str]
    adapters: str = "all"
    random_weights: bool = False


ROWS = (Row("prior as it is", ["ti"], "none"), Row("TI", ["ti"]), Row("LoRA", ["lora"]),
        Row("TI + LoRA", ["ti", "lora"]), Row("TI + full", ["ti", "full"]),
        Row("full, from random weights", ["full"], random_weights=True))


@dataclass(frozen=True)
class Table2Settings:
    """The arguments."""
    data: Sequence[Path]
    seeds: int
    iterations: int
    number: int
    steps: int
    sampler: str
    strength: float | None
    imagenet: bool
    weights: Path
    out: Path

    @property
    def random_weights(self) -> Path:
        """The folder of the weights with a random UNet and text encoder."""
        return self.out / "random-weights"


@dataclass(frozen=True)
class Measured:
    """What one folder of generated images scores."""
    distance: float
    floor: float
    n: int  # images on both sides
    novelty: float  # median


def parse(argv: list[str] | None = None) -> Table2Settings:
    p = parser(__doc__, "python benchmarks/table2.py neu/Pa neu/Sc --seeds 2")
    p.add_argument("data", nargs="+", type=Path, help="category folders")
    p.add_argument("--seeds", type=positive, default=2, help="runs with seeds 0, 1, ..")
    p.add_argument("--iterations", type=positive, default=1000, help="of each training stage")
    p.add_argument("--number", type=positive, default=100, help="images a cell")
    p.add_argument("--steps", type=positive, default=25, help="denoising steps of a full run")
    p.add_argument("--sampler", default="dpm", choices=["ddim", "dpm"])
    p.add_argument("--strength", type=float, help="s of image-oriented generation (default: the recipe's)")
    p.add_argument("--imagenet", action="store_true", help="measure with the second network as well")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks/table2"))
    return Table2Settings(**vars(p.parse_args(argv)))


def main(argv: list[str] | None = None) -> None:
    settings = parse(argv)
    kept = {name: getattr(settings, name) for name in ("iterations", "number", "steps", "sampler", "strength")}
    keep_settings(settings.out, kept | {"weights": settings.weights.resolve()})
    for data in settings.data:
        keep_settings(settings.out / data.resolve().name, {"data": data.resolve()})
    if not settings.random_weights.exists():
        make_random(settings.weights, settings.random_weights)
    table = []
    for network in ("nano", "imagenet") if settings.imagenet else ("nano",):
        for data in settings.data:
            table += [measure_row(settings, data, row, network) for row in ROWS]
    file, done = settings.out / "table2.csv", {(row[0], row[1]) for row in table}
    earlier = [tuple(row[name] for name in COLUMNS) for row in (read_csv(file) if file.is_file() else [])
               if (row["network"], row["category"]) not in done]
    write_csv(file, COLUMNS, earlier + table)
    print(f"wrote {file}; N generated {settings.number}, {settings.seeds} seeds")


def measure_row(settings: Table2Settings, data: Path, row: Row, network: str) -> tuple[object, ...]:
    """Print and return a row of table2.csv, for one category and one feature network."""
    measured: dict[str, list[Measured]] = {start: [] for start in STARTS}
    for seed in range(settings.seeds):
        folder = train(settings, data, row, seed)
        for start in STARTS:
            measured[start].append(measure(settings, data, folder, row.adapters, start, seed, network))
    distances = {start: f"{mean(m.distance for m in cells):.3f}" for start, cells in measured.items()}
    each_seed = {start: " ".join(f"{m.distance:.3f}" for m in cells) for start, cells in measured.items()}
    novelty = {start: f"{mean(m.novelty for m in cells):.2f}" for start, cells in measured.items()}
    last = measured["images"][-1]
    print(f"{data.name} {network} {row.name:25} from noise {each_seed['noise']:16} (novelty {novelty['noise']}) "
          f"from images {each_seed['images']:14} ({novelty['images']}) floor {last.floor:.3f} N = {last.n}", flush=True)
    return (network, data.name, row.name, *distances.values(), *each_seed.values(), f"{last.floor:.3f}", last.n,
            *novelty.values())


def train(settings: Table2Settings, data: Path, row: Row, seed: int) -> Path:
    """Run the stages of a row that are not finished. Returns the run folder."""
    name = f"{'random-' if row.random_weights else ''}{'-'.join(row.stages)}-{seed}"
    folder = settings.out / data.name / name
    trained = settings.out / data.name / f"ti-{seed}"  # by the row of TI alone, which comes first
    for stage in row.stages:
        script = ["train_ti.py"] if stage == "ti" else ["train_lora.py", *(["--full"] if stage == "full" else [])]
        weights = settings.random_weights if row.random_weights else settings.weights
        run(Job((*script, "--data", data, "--out", folder, "--weights", weights, "--iterations", settings.iterations,
                 "--seed", seed, "--resume"), folder / f"{ADAPTER_OF_STAGE[stage]}.safetensors",
                copy=(trained, folder) if len(row.stages) > 1 else None, without=("samples-*",)), settings.out)
    return folder


def measure(settings: Table2Settings, data: Path, folder: Path, adapters: str, start: str, seed: int,
            network: str) -> Measured:
    """One cell: images of a run folder, made from `start`, against the training part of the real ones."""
    out = folder / f"samples-{start}-{adapters}"
    how: list[object] = ["--from-noise"] if start == "noise" else []
    if start == "images" and settings.strength is not None:
        how = ["--strength", settings.strength]
    run(Job(("sample.py", "--run", folder, "--out", out, "--adapters", adapters, "--number", settings.number, "--steps",
             settings.steps, "--sampler", settings.sampler, "--seed", FIRST_SAMPLING_SEED + seed, *how, "--resume"),
            out / "manifest.csv"), settings.out)
    file, real = out / f"score-{network}.json", training_part(settings.out, data)
    run(Job(("fid.py", real, out, "--features", network, "--json", file), file), settings.out)
    result = read_json(file)
    novelty = median(float(image["novelty"]) for image in read_csv(out / "manifest.csv"))
    return Measured(result["fid_same_n"], result["floor"], result["same_n"], novelty)


def training_part(out: Path, data: Path) -> Path:
    """A folder of links to the training images."""
    folder = out / data.name / "real"
    if not folder.is_dir():
        split = load_split(split_file(data), [data])
        with atomic_folder(folder) as temporary:
            for file in part_files(split, data, "train"):
                (temporary / file.name).symlink_to(file.resolve())
    return folder


def make_random(weights: Path, folder: Path) -> None:
    """A copy of the weights with UNet and text encoder drawn at random."""
    torch.manual_seed(0)
    sd = load_stable_diffusion(weights)
    with atomic_folder(folder) as temporary:
        shutil.copytree(weights, temporary, dirs_exist_ok=True)
        config = read_json(weights / "unet" / "config.json")
        save_half(UNet(**unet_arguments(config, weights)), temporary / "unet")
        save_half_text(type(sd.text.model)(sd.text.model.config), temporary / "text_encoder")


if __name__ == "__main__":
    run_main(main)
