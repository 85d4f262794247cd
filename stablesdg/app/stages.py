"""The stages of expand.py: which commands are typed, in which order, what they read, and what they write."""
import dataclasses
import json
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..data.split import read_split
from ..data.surfaces import category_of
from ..storage.files import read_optional_json
from .classify_options import FROZEN
from .expand_settings import ExpandSettings
from .paths import dataset_folder

TUNED_STRENGTHS = "0.3,0.4,0.5,0.6"  # of Table IV; below, an image is nearly its source (docs/results/strength.md)
TUNED_GUIDANCES = {True: "1,2", False: "3,5,7"}  # for a small prior, and for Stable Diffusion
TUNED_IMAGES = {True: 24, False: 100}  # of a cell
WINDOW = "window.json"  # how 16-bit images are read, if there are any
SAMPLER = ("--sampler", "dpm", "--steps", "25")
FEWEST_TO_CHOOSE_BY = 5  # validation images: with 2 to 4, no cell could be told from another in a trial
UNEQUAL = 2  # then a network that is trained on all images alike tends to answer with the largest class
TRAINING = "training"
IMITATION, IMITATION_COST = "imitation", 1.5  # the arm, and its steps take so many times as long
ADAPTERS = ("--adapters", "embedding,lora")  # those of the two stages, whatever else lies in the run folder
SHARED = ("train_ti.py", "train_lora.py", "tune.py", "sample.py", "fid.py", "classify.py")


@dataclass(frozen=True)
class Stage:
    """One command."""
    name: str  # for a person
    category: str  # "" for the whole data set
    program: str  # a script, or a module of stablesdg.app.commands
    arguments: tuple[str, ...]
    reads: tuple[Path, ...]  # files and folders that its result follows from
    writes: tuple[Path, ...]
    split: str = ""  # the lines of the split that its result follows from, where it does not read all of it
    goes_on: tuple[str, ...] = ()  # further arguments if it was interrupted, with the same command and files
    starts_anew: tuple[str, ...] = ()  # further arguments if not
    knows_its_own: bool = False  # it goes on only with unfinished work of the same settings
    operations: tuple[str, float] = ("", 0)  # what its minutes are counted by: a key of `costs`, and how many

    @property
    def command(self) -> str:
        """As it is typed."""
        typed = ["python", self.program] if self.program.endswith(".py") else ["python", "-m",
                                                                               f"stablesdg.{self.program}"]
        return shlex.join([*typed, *self.arguments])

    @property
    def is_shared(self) -> bool:
        """Whether many processes can share its work."""
        return self.program in SHARED and "--evaluate" not in self.arguments

    @property
    def label(self) -> str:
        """Category and name."""
        return f"{self.category}: {self.name}" if self.category else self.name


def list_stages(settings: ExpandSettings, generates: bool) -> list[Stage]:
    """All stages in order, the plan first. `generates`: images are made."""
    folder = dataset_folder(settings.data)
    stages = [plan_stage(settings, folder)]
    if generates:
        for category in settings.generated:
            stages += category_stages(settings, folder / category, category)
    return stages + recognition_stages(settings, folder, generates)


def plan_stage(settings: ExpandSettings, folder: Path) -> Stage:
    """What the data set tells before anything is trained. It makes the split, too, where there is none."""
    return Stage("split and plan", "", "plan", (str(settings.data), "--device", settings.device), (settings.data,),
                 (folder / "split.json", folder / "plan" / "plan.json", folder / WINDOW))


# ---- one category -----------------------------------------------------------------------------------------------


def category_stages(settings: ExpandSettings, run: Path, category: str) -> list[Stage]:
    """Algorithm 1 for one category: v_d, BA, s and w, images, their distance."""
    data = settings.data / category
    common = ("--seed", str(settings.seed), "--device", settings.device)
    where = ("--data", str(data), "--weights", settings.weights)
    training = (*where, "--iterations", str(settings.iterations), "--no-preview", *common)
    split, weights = run.parent / "split.json", Path(settings.weights)
    real = (settings.data / category, run.parent / WINDOW)
    lines = lines_of(split, category, settings.good)
    embedding, lora = run / "embedding.safetensors", run / "lora.safetensors"
    stages = [
        Stage("token embedding", category, "train_ti.py", training, (*real, weights), (embedding,), lines,
              ("--resume",), operations=("token embedding", settings.iterations)),
        Stage("LoRA", category, "train_lora.py", ("--rank", "1", *training),
              (*real, weights, embedding), (lora,), lines, ("--resume",), operations=("LoRA", settings.iterations))]
    adapted = ("--run", str(run), *where, *ADAPTERS)
    chosen: tuple[Path, ...] = ()
    if tunes(settings) and can_tune(split, category):
        guidances, number = TUNED_GUIDANCES[settings.is_small], TUNED_IMAGES[settings.is_small]
        chosen = (run / "tune.csv", run / "choice.json")
        cells = len(TUNED_STRENGTHS.split(",")) * len(guidances.split(","))
        stages.append(Stage(
            "choose s and w", category, "tune.py",
            (*adapted, "--strengths", TUNED_STRENGTHS, "--guidances", guidances, "--number", str(number), "--halving",
             *SAMPLER, *common), (*real, weights, lora), chosen, lines, ("--resume",),
            operations=("images", cells * number / 2)))  # a quarter of each cell, then of a half, half of a quarter
    samples = run / "samples"
    compose, marks = composition(settings, category)
    stages.append(Stage(
        "images", category, "sample.py",
        (*adapted, "--number", str(settings.number), *compose, *(() if chosen else ("--untuned",)), *SAMPLER, *common),
        (*real, weights, lora, *chosen, *marks), (samples,), lines, ("--resume",), knows_its_own=True,
        operations=("images", settings.number)))
    features = () if settings.has_inception else ("--features", "nano")
    stages.append(Stage("score", category, "fid.py",
                        (str(data), str(samples), *features, "--json", str(run / "fid.json"), "--device",
                         settings.device), (*real, samples), (run / "fid.json",), lines))
    return stages


def lines_of(split: Path, *categories: str | None) -> str:
    """What the split says of the images of some classes; "" where there is no split yet."""
    if not split.is_file():
        return ""
    files = read_split(split)["files"]
    return json.dumps({name: files[name] for name in sorted(files) if category_of(name) in categories})


def composition(settings: ExpandSettings, category: str) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """(arguments of sample.py, the folder of masks or boxes that it reads) where images are composed."""
    if not settings.composes:
        return (), ()
    arguments = ("--compose", *(("--ground", str(settings.data / settings.good)) if settings.good else ()))
    for option, marks in (("--masks", settings.masks), ("--boxes", settings.boxes)):
        if marks:
            return (*arguments, option, str(marks / category)), (marks / category,)
    return arguments, ()


def tunes(settings: ExpandSettings) -> bool:
    """Whether s and w are to be chosen. Composites need none."""
    return settings.hyperparameters == "tune" and not settings.composes


def can_tune(split: Path, category: str) -> bool:
    """Whether a class has enough validation images to choose s and w by. True where there is no split yet."""
    if not split.is_file():
        return True
    held_out = [name for name, entry in read_split(split)["files"].items()
                if entry["part"] == "val" and category_of(name) == category]
    return len(held_out) >= FEWEST_TO_CHOOSE_BY


# ---- recognition ------------------------------------------------------------------------------------------------


def recognition_stages(settings: ExpandSettings, folder: Path, generates: bool) -> list[Stage]:
    """The classifier on frozen features; with generated images, it and each network with them and with its controls."""
    split, results = folder / "split.json", folder / "classify"
    real = (settings.data, split, folder / WINDOW)
    made = tuple(folder / category / "samples" for category in settings.generated)
    generated = ("--generated", str(folder), *(("--real-only", *settings.real_only) if settings.real_only else ()))
    frozen = frozen_network(folder)
    balanced = ("--balanced",) if is_unequal(split) or (generates and settings.real_only) else ()
    stages = [classify(settings, frozen, balanced, real, results, "none")]
    if not generates:
        return stages
    length = ("--steps", str(settings.steps), "--augment", "strong", "--average", *balanced, "--side",
              str(settings.side), "--seeds", str(settings.seeds))
    imitation, control = ("--imitate", frozen), ("--control", "steps", "--filter", frozen, *generated)
    expand = ("--mode", "expand", "--filter", frozen, *generated)
    all_images = (*real, *made)
    stages.append(classify(settings, frozen, (*expand, *balanced), all_images, results, "expand"))
    for network in settings.networks:
        stages += [classify(settings, network, (*arm, *length), reads, results, name) for name, arm, reads in (
            ("none", (), real), (IMITATION, imitation, real), ("steps", control, all_images),
            ("expand", expand, all_images))]
    return stages


def frozen_network(folder: Path) -> str:
    """What --network is called on the frozen features that the plan found to be the better ones."""
    return read_optional_json(folder / "plan" / "plan.json").get("frozen", FROZEN[0])


def is_random(split: Path) -> bool:
    """Whether there is a split that is a random one."""
    return split.is_file() and read_split(split)["method"] == "random"


def is_unequal(split: Path) -> bool:
    """Whether the largest class has more than UNEQUAL times as many training images as the smallest one."""
    if not split.is_file():
        return False
    sizes = Counter(category_of(name) for name, entry in read_split(split)["files"].items() if entry["part"] == "train")
    return max(sizes.values()) > UNEQUAL * min(sizes.values())


def evaluation_stage(settings: ExpandSettings, folder: Path, stem: str) -> Stage:
    """What a kept classifier says of each test image: the report counts missed defects and false alarms in it."""
    model, images = folder / "classify" / f"{stem}.safetensors", folder / "expanded" / "test"
    return Stage(f"{stem}, each test image", "", "classify.py",
                 ("--evaluate", str(images), "--model", str(model), "--device", settings.device), (images, model),
                 (model.parent / f"predictions-{stem}-on-test.csv",))


def classify(settings: ExpandSettings, network: str, arguments: tuple[str, ...], reads: tuple[Path, ...],
             results: Path, name: str) -> Stage:
    """One arm of one network."""
    stem = f"{network}-{name}-1" + ("-random" if is_random(results.parent / "split.json") else "")
    steps = 0 if network in FROZEN else settings.steps * settings.seeds * (IMITATION_COST if name == IMITATION else 1)
    return Stage(f"{network}, {name}", "", "classify.py",
                 ("--data", str(settings.data), "--network", network, "--name", name, "--device", settings.device,
                  *arguments), reads, (results / f"{stem}.json", results / f"{stem}.safetensors"), "", ("--resume",),
                 ("--replace",), operations=(TRAINING, steps))


def with_arguments(stage: Stage, interrupted: bool) -> Stage:
    """The stage with what it needs to go on, or to start anew."""
    more = stage.goes_on if interrupted else stage.starts_anew
    return dataclasses.replace(stage, arguments=(*stage.arguments, *more))
