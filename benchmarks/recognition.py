"""Does generated data help a classifier, and can we tell? The paper's last stage with weights/nano, on your data.

    python benchmarks/recognition.py neu --splits group random --networks squeezenet resnet --seeds 3

For each split, only a share alpha of the training part is kept: this is the user who has few images. Adapters, sources,
classical augmentation and classifiers see nothing else. What is not kept joins the test part, so that less is left to
chance. The arms expand and full of classify.py are then compared with every other arm of their network. Holm's method
adjusts the p values for so many comparisons.

The project's own command lines do everything, in a folder of its own for each split. What is finished is not run again.
All seeds share one draw of real images, one training of the adapters and one set of generated images. The intervals
hold for these, and for classifiers trained anew.

--substitute adds the paper's Fig. 9. Its real images are drawn from the whole training part, anew for each seed. Its
generated images come from the same adapters. These have seen real images that its arms have not: pairs.csv counts them.
"""
import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs import ROOT, Job, keep_settings, run

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.folders import list_categories
from stablesdg.data.parts import LEFT_OUT
from stablesdg.recognise.arms import CONTROLS
from stablesdg.recognise.results import Result, read_results, summary_lines
from stablesdg.recognise.results import summarise as summarise_result
from stablesdg.recognise.verdicts import describe, find_family, verdicts
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_json, write_csv, write_json

MOST_OF_A_SURFACE = 10  # so many images of a surface that is not kept become test images
ARMS = ("none", "steps", "classic", "copies", "expand", "full", "synthetic")
SUMMARY_COLUMNS = ("experiment", "network", "alpha", "arm", "seeds", "epochs", "accuracy", "sd", "low", "high",
                   "balanced accuracy", "macro-F1")
PAIR_COLUMNS = ("experiment", "network", "alpha", "arm", "against", "seeds", "seen by its generator alone",
                "difference", "low", "high", "p", "adjusted p")
GENERATION_SETTINGS = ("data", "weights", "alpha", "iterations", "number", "steps", "strengths", "guidances",
                       "tune_number", "min_novelty")  # those that the generated images depend on


@dataclass(frozen=True)
class RecognitionSettings:
    """The arguments."""
    data: Path  # resolved, and so is weights
    splits: Sequence[str]
    networks: Sequence[str]
    arms: Sequence[str]
    seeds: int
    alpha: float
    epochs: int
    iterations: int
    number: int
    steps: int
    strengths: str
    guidances: str
    tune_number: int
    min_novelty: float
    substitute: Sequence[float]
    generate_only: bool
    weights: Path
    out: Path


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python benchmarks/recognition.py neu --splits group --networks squeezenet")
    p.add_argument("data", type=Path, help="data set: a folder with one folder of images for each class")
    p.add_argument("--splits", nargs="+", choices=["group", "random"], default=["group", "random"])
    p.add_argument("--networks", nargs="+", default=["squeezenet", "resnet"], help="names as classify.py takes them",
                   choices=["alexnet", "vgg", "resnet", "squeezenet", "densenet"])
    p.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS,
                   help="arms of classify.py; full is expand with a generator of full adaptation instead of LoRA")
    p.add_argument("--seeds", type=positive, default=3, help="trainings of each classifier, with seeds 0, 1, ..")
    p.add_argument("--alpha", type=float, default=0.4, help="share of the training part that is kept")
    p.add_argument("--epochs", type=positive, default=20, help="of each classifier")
    p.add_argument("--iterations", type=positive, default=300, help="of each training stage")
    p.add_argument("--number", type=positive, default=130, help="generated images a class")
    p.add_argument("--steps", type=positive, default=30, help="denoising steps of a full run, by DPM-Solver++")
    p.add_argument("--strengths", default="0.2,0.3,0.4,0.6", help="s that tune.py chooses from")
    p.add_argument("--guidances", default="1", help="w that tune.py chooses from; 1 is no guidance")
    p.add_argument("--tune-number", type=positive, default=27, help="images for each pair of s and w")
    p.add_argument("--min-novelty", type=float, default=1.0, help="least median novelty that tune.py may choose")
    p.add_argument("--substitute", type=float, nargs="*", default=[], help="alphas of Fig. 9, for example 0.8 0.6 0.4")
    p.add_argument("--generate-only", action="store_true", help="stop before the classifiers")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks/recognition"))
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = vars(parse(argv))
    settings = RecognitionSettings(**{**args, "data": args["data"].resolve(), "weights": args["weights"].resolve()})
    keep_settings(settings.out, {name: getattr(settings, name) for name in GENERATION_SETTINGS})
    for method in settings.splits:
        place = (settings.out / method).resolve()
        keep_share(place, settings, method)
        for category in list_categories(settings.data):
            generate(place, settings, category)
        if not settings.generate_only:
            recognise(place, settings, method)
            summarise(place)


def recognise(place: Path, settings: RecognitionSettings, method: str) -> None:
    """All arms of all networks, and those of Fig. 9."""
    keep_settings(place / "classify", {"epochs": settings.epochs})
    for network in settings.networks:
        for arm in settings.arms:
            classify(place, settings, network, arm, method)
    if settings.substitute:
        make(place / "whole", place / "whole" / "runs" / settings.data.name / "split.json", "-m", "stablesdg.split",
             settings.data, "--split", method)
        for alpha in settings.substitute:
            for arm in ("none", "substitute"):
                classify(place, settings, settings.networks[0], arm, method, alpha)


def make(place: Path, done: Path, *command: object, seeds: int = 0, copy: tuple[Path, Path] | None = None) -> None:
    """Run a command with all runs in `place`, unless it is finished."""
    run(Job((*command, "--runs", place / "runs"), done, seeds=seeds, copy=copy), place, f"{place.name}:")


# ---- few real images --------------------------------------------------------------------------------------------


def keep_share(place: Path, settings: RecognitionSettings, method: str) -> None:
    """Make the split of `place`. Only a share alpha of each class's training part stays, see `share_out`."""
    manifest = place / "runs" / settings.data.name / "split.json"
    if manifest.exists():
        return
    whole = manifest.with_name("whole.json")
    make(place, whole, "-m", "stablesdg.split", settings.data, "--split", method, "--out", whole)
    split = read_json(whole)
    for category in list_categories(settings.data):
        groups: dict[str, list[str]] = {}
        for name, entry in sorted(split["files"].items()):
            if name.startswith(f"{category.name}/") and entry["part"] == "train":
                groups.setdefault(entry["group"], []).append(name)
        for name, part in share_out(groups, settings.alpha).items():
            split["files"][name]["part"] = part
    write_json(manifest, split)


def share_out(groups: Mapping[str, Sequence[str]], alpha: float) -> dict[str, str]:
    """{name: part} of {group: names}. A share alpha of all names, in whole groups, stays in the training part.

    The others become test images, but at most MOST_OF_A_SURFACE of one group: more of them tell little. Raises
    UserError if every group is larger than that share.
    """
    room = round(alpha * sum(map(len, groups.values())))
    if min(map(len, groups.values())) > room:
        raise UserError(f"Every group of overlapping images, {min(groups)} for example, is larger than {room} images: "
                        "pass a larger --alpha.")
    parts = {}
    for group in random.Random(0).sample(sorted(groups), len(groups)):
        names = groups[group]
        if len(names) <= room:
            room -= len(names)
            parts |= dict.fromkeys(names, "train")
        else:
            parts |= {name: "test" if i < MOST_OF_A_SURFACE else LEFT_OUT for i, name in enumerate(names)}
    return parts


# ---- generated images -------------------------------------------------------------------------------------------


def generate(place: Path, settings: RecognitionSettings, category: Path) -> None:
    """TI, LoRA, the choice of s and w, samples and round trips of one category in runs/DATASET.

    For the arm full, runs/DATASET-full gets the same TI, full adaptation, its own choice and samples. The round trips
    use no adapter.
    """
    data = settings.data.name
    lora, full = (place / "runs" / name / category.name for name in (data, f"{data}-full"))
    train(place, settings, category, lora, "ti")
    if "full" in settings.arms:
        copy = None if (lora / "lora.safetensors").exists() else (lora, full)  # as long as it holds TI alone
        train(place, settings, category, full, "ti", copy=copy)
    train(place, settings, category, lora, "lora")
    sample(place, settings, lora, "samples")
    sample(place, settings, lora, "copies", "--strength", 0, "--out", lora / "copies")
    if "full" in settings.arms:
        train(place, settings, category, full, "full", "--full")
        sample(place, settings, full, "samples")


def train(place: Path, settings: RecognitionSettings, category: Path, folder: Path, stage: str, *how: object,
          copy: tuple[Path, Path] | None = None) -> None:
    """One training stage of a run folder."""
    script = "train_ti.py" if stage == "ti" else "train_lora.py"
    make(place, folder / f"preview-{stage}.png", script, "--data", category, "--weights", settings.weights,
         "--iterations", settings.iterations, "--out", folder, "--resume", *how, copy=copy)


def sample(place: Path, settings: RecognitionSettings, folder: Path, name: str, *how: object) -> None:
    """Make a run's images in its folder `name`, with the s and w that tune.py chooses unless `how` says otherwise."""
    sampling = ["--run", folder, "--sampler", "dpm", "--steps", settings.steps, "--resume"]
    make(place, folder / "tune.png", "tune.py", *sampling, "--features", "nano", "--strengths", settings.strengths,
         "--guidances", settings.guidances, "--min-novelty", settings.min_novelty, "--number", settings.tune_number)
    make(place, folder / f"preview-{name}.png", "sample.py", *sampling, "--number", settings.number, *how)


# ---- classifiers ------------------------------------------------------------------------------------------------


def classify(place: Path, settings: RecognitionSettings, network: str, arm: str, method: str,
             alpha: float | None = None) -> None:
    """One arm of one network with all its seeds. With an alpha, its real images are drawn from the whole split."""
    data, runs, out = settings.data.name, place / "runs", place / ("substitute" if alpha else "classify")
    if arm == "full":
        how: list[object] = ["--mode", "expand", "--name", "full", "--generated", runs / f"{data}-full"]
    elif arm == "none":
        how = ["--mode", "none"]
    else:
        how = ["--control" if arm in CONTROLS else "--mode", arm, "--generated", runs / data]
    result = f"{network}-{arm}-{alpha or 1:g}" + ("-random" if method == "random" else "")
    make(place / "whole" if alpha else place, out / f"{result}.json", "classify.py", "--data", settings.data,
         "--network", network, *how, "--alpha", alpha or 1, "--epochs", settings.epochs, "--seeds", settings.seeds,
         "--resume", "--out", out, seeds=settings.seeds)


def summarise(place: Path) -> None:
    """summary.csv: each arm's accuracy with its interval; pairs.csv: expand, or substitute, against each other arm."""
    rows, pairs = [], []
    for experiment in ("classify", "substitute"):
        results = read_results(place / experiment)
        for result in results:
            setup, found = result.setup, summarise_result(result)
            which = (experiment, setup.network, setup.alpha, result.name)
            figures = (f"{found[k]:.4f}" for k in ("mean", "sd", "low", "high", "balanced_accuracy", "macro_f1"))
            rows.append((*which, len(result.seeds), result.seeds[0].epochs, *figures))
            print(f"{place.name} {experiment} {setup.network} alpha {setup.alpha:g} {summary_lines(result)}")
            if setup.arm in ("expand", "substitute"):
                pairs += [(*which, *pair) for pair in compare_in_folder(result, results, place / experiment)]
    write_csv(place / "summary.csv", SUMMARY_COLUMNS, rows)
    write_csv(place / "pairs.csv", PAIR_COLUMNS, pairs)
    print(f"wrote {place / 'summary.csv'} and pairs.csv")


def compare_in_folder(result: Result, results: Sequence[Result], folder: Path) -> Iterator[tuple[object, ...]]:
    """Print the family of a result. Gives PAIR_COLUMNS from "against" on, for each comparison."""
    family = find_family(result, results)
    for line in describe(family, folder):
        print(f"  {line}")
    for pair in verdicts(family):
        c = pair.comparison
        figures = (f"{value:.4f}" for value in (c.difference, c.low, c.high, c.p, pair.adjusted_p))
        yield pair.against, c.seeds, result.unseen, *figures


if __name__ == "__main__":
    run_main(main)
