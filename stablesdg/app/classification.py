"""What is kept of an arm of recognition, and what is said of it."""
from pathlib import Path

from ..data.images import save_image
from ..evaluate.extract import nano_extractor
from ..recognise.hard import write_hard
from ..recognise.results import Result, read_results, save_filtered, save_result, summary_lines
from ..recognise.saved import save_classifier
from ..recognise.verdicts import describe, describe_all, find_family
from ..report.confusion import confusion_picture
from ..storage.errors import UserError
from ..storage.files import sha256
from .classify_settings import ClassifySettings
from .experiment import Experiment
from .one_seed import SeedRun
from .training_window import training_window

# ---- what is kept -----------------------------------------------------------------------------------------------


def add_seed(experiment: Experiment, result: Result, run: SeedRun) -> Result:
    """The result with one more seed, written to disk so that --resume can go on from it.

    The weights are kept if they are better on the validation part than those of all earlier seeds. So are the weights
    of images in hard-NAME.csv.
    """
    setup, tested = result.setup, run.tested
    drawn = {sha256(file) for file in run.real}
    if run.filtered is not None:
        save_filtered(experiment.out, setup.name, tested.seed, run.filtered)
    if round(tested.val_accuracy, 6) > max((round(one.val_accuracy, 6) for one in result.seeds), default=-1.0):
        save_classifier(experiment.out / f"{setup.stem}.safetensors", run.state, setup.network, setup.classes,
                        drawn | experiment.generated.seen | experiment.validation_sha256, experiment.settings.side,
                        training_window(run.real))
        write_hard(experiment.out / f"hard-{setup.stem}.csv", experiment.train, experiment.validation_files, run.missed,
                   experiment.extractor or nano_extractor(experiment.device))
    result = result.add(tested, run.n_added, len(experiment.generated.seen - drawn))
    keep_result(experiment, result)
    return result


def keep_result(experiment: Experiment, result: Result) -> None:
    """Write all of a result except its weights."""
    setup = result.setup
    save_result(experiment.out, result)
    save_image(experiment.out / f"confusion-{setup.stem}.png",
               confusion_picture(result.confusion.tolist(), setup.classes, setup.stem, len(result.seeds)))


def finished_seeds(result: Result, settings: ClassifySettings) -> str:
    """What is kept when a training is stopped."""
    if not result.seeds:
        return "no seed was finished"
    instead = " in the place of --replace" if settings.replace else ""
    return (f"{len(result.seeds)} of {settings.seeds} seeds are kept; the same command with --resume{instead} goes on "
            "with the others")


# ---- what is said -----------------------------------------------------------------------------------------------


def say_result(experiment: Experiment, result: Result) -> None:
    """Print a result, its verdicts against the others in its folder, and the names of its files."""
    out, stem = experiment.out, result.setup.stem
    print(summary_lines(result))
    for line in describe(find_family(result, read_results(out)), out):
        print(line)
    print(f"wrote {out}/results.csv, {stem}.json, confusion-{stem}.png, hard-{stem}.csv and {stem}.safetensors, "
          "which --predict and --evaluate take as --model")


def say_verdicts(folder: Path, name: str | None) -> None:
    """--verdicts: print all results of a folder, or those of one name, and compare them as the folder is now."""
    results = read_results(folder)
    if not results:
        raise UserError(f"{folder} holds no results: train classifiers with classify.py first.")
    if name and name not in (known := sorted({result.name for result in results})):
        raise UserError(f"{folder} holds no result called {name}: it has {', '.join(known)}.")
    for result in results:
        if name in (None, result.name):
            print(f"{result.setup.stem}: {summary_lines(result)}")
    for line in describe_all(results, folder, name):
        print(line)
