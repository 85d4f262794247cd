"""The paper's comparison with its rivals on a data set: distances, accuracy after expansion, and what training costs.

    python benchmarks/rivals.py neu --minutes 60 --dry-run     # what would be run
    python benchmarks/rivals.py neu --minutes 60               # -> runs/benchmarks/rivals/neu/rivals.md

Every generator gets the same wall-clock time of training a class, the same training images, and makes the same number
of images. StableSDG gets half of the time for each of its two stages: a short run on the first class tells how many
iterations fit. `classic` rotates and mirrors the training images and trains nothing.

The tables stand for the paper's Tables V and VII (distances), VI and VIII (accuracy) and Fig. 8 (cost). All parts are
the project's own command lines. What is finished is not run again, so the same command goes on where it was stopped.
"""
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs import ROOT, Job, keep_settings, run
from rival_tables import RivalsSettings, write_tables

from stablesdg.app.command_line import parser, positive, rate, run_main
from stablesdg.data.folders import list_categories
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_json, write_json

RIVALS = ("dcgan", "stylegan3", "ddpm", "ddim", "textual-inversion", "dreambooth")
ROWS = ("stablesdg", "classic", *RIVALS)
NETWORKS = ("alexnet", "vgg", "resnet", "squeezenet", "densenet")
STAGES = {"ti": "embedding", "lora": "lora"}
TRIAL_ITERATIONS = 20  # of each stage, to find out how many fit
MOST_STEPS = 10**9  # the minutes end a training
# what generated images follow from
MEASURED = ("data", "minutes", "number", "size", "steps", "split", "iterations", "weights", "options")


def parse(argv: list[str] | None = None) -> RivalsSettings:
    p = parser(__doc__, "python benchmarks/rivals.py neu --minutes 60")
    p.add_argument("data", type=Path, help="data set: a folder with one folder of images for each class")
    p.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="what to compare")
    p.add_argument("--minutes", type=rate, default=60.0, help="of training, for each row and class")
    p.add_argument("--number", type=positive, default=1000, help="images of each row and class")
    p.add_argument("--size", type=positive, help="side in pixels of the rivals that start from nothing (default: the "
                                                 "least of 64, 128, 256 that is no smaller than an image)")
    p.add_argument("--steps", type=positive, help="denoising steps of a full run, for all (default: of each its own)")
    p.add_argument("--split", choices=["group", "random"], default="group",
                   help="as python -m stablesdg.split takes it")
    p.add_argument("--iterations", type=positive,
                   help="of each stage of StableSDG (default: as many as fit into half of the minutes)")
    p.add_argument("--options", nargs="+", default=[], metavar="NAME:OPTION[=VALUE]",
                   help="more options of rivals or of classify.py, for example dcgan:width=256 "
                        "dreambooth:prior-preservation=50 classify:side=64 classify:balanced")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--reference", default="train", choices=["all", "train", "held-out"],
                   help="the real images that distances are measured from, as fid.py takes it")
    p.add_argument("--imagenet", action="store_true", help="measure by a network trained on ImageNet as well")
    p.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS), help="classifiers")
    p.add_argument("--seeds", type=positive, default=3, help="trainings of each classifier")
    p.add_argument("--epochs", type=positive, default=50, help="of each classifier")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks/rivals"))
    p.add_argument("--dry-run", action="store_true", help="print the commands, and which are done, and stop")
    args = vars(p.parse_args(argv))
    settings = RivalsSettings(**{**args, "data": args["data"].resolve(), "weights": args["weights"].resolve()})
    if "classic" in settings.rows and "stablesdg" not in settings.rows:
        raise UserError("--rows classic needs the run folders of stablesdg: add that row.")
    for option in settings.options:
        name, _, assignment = option.partition(":")
        if name not in (*RIVALS, "classify") or not assignment:
            raise UserError(f"--options {option} is not NAME:OPTION=VALUE, or NAME:OPTION, with one of "
                            f"{', '.join(RIVALS)}, classify.")
    return settings


def main(argv: list[str] | None = None) -> None:
    settings = parse(argv)
    categories = list_categories(settings.data)
    if settings.dry_run:
        show(settings, categories)
        return
    measured = {name: getattr(settings, name) for name in MEASURED}
    measured["data"] = settings.data.resolve()
    measured["options"] = [option for option in settings.options if not option.startswith("classify:")]
    keep_settings(settings.place, measured)
    run(Job(with_runs(settings, "-m", "stablesdg.split", settings.data, "--split", settings.split),
            settings.runs / "split.json"), settings.place)
    iterations = settings.iterations or find_iterations(settings, categories[0])
    jobs = generation_jobs(settings, categories, iterations)
    for k, job in enumerate(jobs, start=1):
        run(job, settings.place, f"{k} of {len(jobs)}")
    command = sys.argv[1:] if argv is None else argv
    write_tables(settings, categories, command)
    for job in recognition_jobs(settings):
        run(job, settings.place)
    write_tables(settings, categories, command)


def show(settings: RivalsSettings, categories: Sequence[Path]) -> None:
    """Print the plan."""
    iterations = settings.iterations or "AS-MANY-AS-FIT"
    jobs = [*generation_jobs(settings, categories, iterations), *recognition_jobs(settings)]
    for job in jobs:
        print(f"{'to do' if job.missing() else 'done '} {job.text()}")
    trained = [row for row in settings.rows if row not in ("classic", *(["ddim"] if "ddpm" in settings.rows else []))]
    hours = len(trained) * len(categories) * settings.minutes / 60
    print(f"{sum(job.missing() > 0 for job in jobs)} of {len(jobs)} commands are to do; training generators takes "
          f"{hours:.1f} hours in all, and drawing images and training classifiers come on top")


def with_runs(settings: RivalsSettings, *command: object) -> tuple[object, ...]:
    """The command with all runs in the benchmark's own folder."""
    return (*command, "--runs", settings.place / "runs")


# ---- generated images -------------------------------------------------------------------------------------------


def find_iterations(settings: RivalsSettings, category: Path) -> dict[str, int]:
    """{stage: iterations} that fill half of the minutes each, by a short run on the first class."""
    file = settings.place / "iterations.json"
    if not file.is_file():
        folder = settings.place / "trial"
        seconds = {}
        for stage, adapter in STAGES.items():
            run(Job(training(settings, stage, category, folder, TRIAL_ITERATIONS), folder / f"{adapter}.safetensors"),
                settings.place)
            seconds[stage] = read_json(folder / "run.json")["stages"][stage]["seconds"] / TRIAL_ITERATIONS
        write_json(file, {stage: max(1, int(30 * settings.minutes / max(each, 1e-3)))
                          for stage, each in seconds.items()})
    return read_json(file)


def training(settings: RivalsSettings, stage: str, category: Path, folder: Path,
             iterations: object) -> tuple[object, ...]:
    """The command of one stage of StableSDG."""
    return with_runs(settings, f"train_{stage}.py", "--data", category, "--out", folder, "--weights", settings.weights,
                     "--iterations", iterations, "--no-preview", "--resume")


def generation_jobs(settings: RivalsSettings, categories: Sequence[Path],
                    iterations: Mapping[str, int] | int | str) -> list[Job]:
    """All commands that train generators, make images, and measure distances."""
    jobs = []
    for category in categories:
        for row in settings.rows:
            folder = settings.folder(row, category.name)
            samples = settings.samples(row, category.name)
            if row == "stablesdg":
                for stage, adapter in STAGES.items():
                    number = iterations[stage] if isinstance(iterations, Mapping) else iterations
                    jobs.append(Job(training(settings, stage, category, folder, number),
                                    folder / f"{adapter}.safetensors"))
            last = folder / "run.json" if row in RIVALS else samples / "manifest.csv"
            jobs.append(Job(drawing(settings, row, category, folder), last, copy=ddpm_copy(settings, row, category),
                            without=("samples*", "run.json", "*.png", "score-*.json")))
            for features in settings.features:
                score = settings.score(row, category.name, features)
                jobs.append(Job(with_runs(settings, "fid.py", category, samples, "--features", features, "--reference",
                                          settings.reference, "--json", score), score))
    return jobs


def drawing(settings: RivalsSettings, row: str, category: Path, folder: Path) -> tuple[object, ...]:
    """The command that makes the images of one row and class. A rival's trains it, too."""
    steps = ["--steps", settings.steps] if settings.steps else []
    if row == "stablesdg":
        return with_runs(settings, "sample.py", "--run", folder, "--number", settings.number, *steps, "--resume")
    if row == "classic":
        return with_runs(settings, "sample.py", "--run", settings.folder("stablesdg", category.name), "--classic",
                         "--out", folder, "--number", settings.number, "--resume")
    how: list[object] = []
    if row in ("textual-inversion", "dreambooth"):
        how += ["--weights", settings.weights]
    elif settings.size:
        how += ["--size", settings.size]
    if settings.steps and row not in ("dcgan", "stylegan3"):
        how += ["--draw-steps", settings.steps]
    return with_runs(settings, "-m", "stablesdg.rivals", row, "--data", category, "--steps", MOST_STEPS, "--minutes",
                     f"{settings.minutes:g}", "--number", settings.number, *how, *options_of(settings, row), "--resume")


def options_of(settings: RivalsSettings, name: str) -> list[str]:
    """What --options says of one rival, or of classify.py, as arguments."""
    assignments = [option.partition(":")[2] for option in settings.options if option.startswith(f"{name}:")]
    return [part for each in assignments for part in ("--" + each).split("=", 1)]


def ddpm_copy(settings: RivalsSettings, row: str, category: Path) -> tuple[Path, Path] | None:
    """ddpm and ddim draw from one network: the second takes what the first has trained."""
    if row != "ddim" or "ddpm" not in settings.rows:
        return None
    return settings.folder("ddpm", category.name), settings.folder("ddim", category.name)


# ---- classifiers ------------------------------------------------------------------------------------------------


def recognition_jobs(settings: RivalsSettings) -> list[Job]:
    """All classifiers: real images alone, as many steps on them, and each row's expansion."""
    jobs, ending = [], "-random" if settings.split == "random" else ""
    for network in settings.networks:
        arms: list[tuple[str, list[object]]] = [("none", ["--mode", "none"]),
                                                ("steps", ["--control", "steps", "--number", settings.number])]
        arms += [(row, ["--mode", "expand", "--generated", settings.generated(row), "--number", settings.number])
                 for row in settings.rows]
        for name, how in arms:
            out = settings.place / "classify"
            jobs.append(Job(with_runs(settings, "classify.py", "--data", settings.data, "--network", network, *how,
                                      "--name", name, "--epochs", settings.epochs, "--seeds", settings.seeds,
                                      *options_of(settings, "classify"), "--resume", "--out", out),
                            out / f"{network}-{name}-1{ending}.json", seeds=settings.seeds))
    return jobs


if __name__ == "__main__":
    run_main(main)
