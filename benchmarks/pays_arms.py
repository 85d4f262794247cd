"""The arms of pays.py, and the command lines that make them."""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs import Job
from pays_draws import Regime

from stablesdg.data.folders import list_categories

SETS: dict[str, tuple[object, ...]] = {  # generated images -> arguments of sample.py
    "classic": ("--classic",),
    "redrawn": (),  # with the recipe's s
    "bold": ("--strength", 0.5, 0.9),
    "copies": ("--strength", 0),
    "pasted": ("--compose", "--strength", 0),
    "welded": ("--compose",),
    "mixed": ("--strength", 0.4, 0.8),  # each image starts from one of the next class
}
DRAWN = "drawn-textures"  # the data set of drawn textures, one class for each kind of mark
TEACHER, IMITATE = ("--teacher", "nano"), ("--imitate", "nano")
FILTER, PRETRAIN = ("--filter",), ("--pretrain-generated",)


@dataclass(frozen=True)
class Arm:
    """A row of the table: which generated images join the real ones, and how a classifier learns from both."""
    name: str
    generated: str | None = None  # one of SETS
    arguments: tuple[str, ...] = ()  # of classify.py
    protocol: str = "equal"  # equal steps; "paper": epochs and its augmentation; "frozen": a probe, not a network
    sees_again: bool = False  # real images, those the more often that the arm "real" gets wrong on validation
    from_drawn: bool = False  # starts from a classifier of drawn textures
    features: str = "nano"  # or "imagenet": those of a frozen arm


ARMS = (
    Arm("real"),
    Arm("teacher-on-real", None, TEACHER),
    Arm("teacher-on-real-mix", None, (*TEACHER, "--mix", "both")),
    Arm("imitation-on-real", None, IMITATE),
    Arm("imitation-of-imagenet", None, ("--imitate", "imagenet")),
    Arm("frozen-real", None, (), "frozen"),
    Arm("frozen-imagenet", None, (), "frozen", features="imagenet"),
    Arm("hard-again", sees_again=True),
    Arm("pretrain-on-drawn", from_drawn=True),
    Arm("pasted", "pasted"),
    Arm("welded", "welded"),
    Arm("redrawn", "redrawn"),
    Arm("copies", "copies"),
    Arm("teacher-on-pasted", "pasted", TEACHER),
    Arm("teacher-on-welded", "welded", TEACHER),
    Arm("teacher-on-redrawn", "redrawn", TEACHER),
    Arm("imitation-on-pasted", "pasted", IMITATE),
    Arm("imitation-on-redrawn", "redrawn", IMITATE),
    Arm("imitation-on-bold", "bold", IMITATE),
    Arm("teacher-on-bold", "bold", TEACHER),
    Arm("teacher-on-bold-filtered", "bold", (*TEACHER, *FILTER)),
    Arm("teacher-on-mixed", "mixed", TEACHER),
    Arm("pretrain-on-redrawn", "redrawn", PRETRAIN),
    Arm("frozen-redrawn", "redrawn", (), "frozen"),
    Arm("frozen-pasted", "pasted", (), "frozen"),
    Arm("frozen-copies", "copies", (), "frozen"),
    Arm("frozen-classic", "classic", (), "frozen"),
    Arm("paper-real", None, (), "paper"),
    Arm("paper-redrawn", "redrawn", (), "paper"),
)


@dataclass(frozen=True)
class PaysSettings:
    """The arguments, resolved."""
    data: Path
    regimes: tuple[Regime, ...]
    draws: int
    seeds: int
    arms: tuple[Arm, ...]
    network: str
    pretrained: Path | None
    steps: int
    side: int
    share: float
    upright: bool
    paper_epochs: int
    curve: tuple[int, ...]
    iterations: int
    number: int
    sampling_steps: int
    ground: str | None
    masks: Path | None
    weights: Path
    out: Path

    @property
    def categories(self) -> list[str]:
        """The classes."""
        return [folder.name for folder in list_categories(self.data)]

    def training(self, steps: int | str) -> str:
        """The name of the folder for results of classifiers that are trained alike; for "*", a pattern of all."""
        return f"{steps}-steps-{self.side}-px" + (f"-{self.pretrained.stem}" if self.pretrained else "")


# ---- command lines ----------------------------------------------------------------------------------------------


def draws(settings: PaysSettings) -> Iterator[tuple[Regime, int]]:
    """Draw by draw, so that all regimes have a first draw soon."""
    return ((regime, draw) for draw in range(settings.draws) for regime in settings.regimes)


def draw_name(regime: Regime, draw: int) -> str:
    """The name of the draw's data set."""
    return f"{regime.name}-draw-{draw}"


def all_jobs(settings: PaysSettings, regime: Regime, draw: int) -> list[Job]:
    """The commands of one draw in their order. Sets are made when the first arm needs them."""
    name = draw_name(regime, draw)
    jobs: list[Job] = []
    for steps in settings.curve or (settings.steps,):
        for arm in settings.arms:
            before = list(generate(settings, regime, name, arm.generated)) if arm.generated else []
            if arm.sees_again:
                before.append(classify(settings, regime, name, ARMS[0], steps))
            if arm.from_drawn:
                before.append(classify_drawn(settings, steps))
            jobs += [job for job in (*before, classify(settings, regime, name, arm, steps)) if job not in jobs]
    return jobs


def generate(settings: PaysSettings, regime: Regime, draw: str, made: str) -> Iterator[Job]:
    """The adapters of all classes, or of the rare one, and one set of generated images."""
    data, runs = settings.out / "data" / draw, settings.out / "runs"
    expanded = [regime.rare] if regime.rare else settings.categories
    for stage, adapter in (("train_ti", "embedding"), ("train_lora", "lora")):
        for category in expanded:
            yield Job((f"{stage}.py", "--data", data / category, "--runs", runs, "--weights", settings.weights,
                       "--iterations", settings.iterations, "--no-preview", "--resume"),
                      runs / draw / category / f"{adapter}.safetensors", stage)
    for category in expanded:
        following = settings.categories[(settings.categories.index(category) + 1) % len(settings.categories)]
        out = settings.out / "sets" / draw / made / category
        more = ("--from", data / following) if made == "mixed" else composition(settings, data, made, category)
        sampler = () if made == "classic" else ("--sampler", "dpm", "--steps", settings.sampling_steps)
        yield Job(("sample.py", "--run", runs / draw / category, "--runs", runs, "--out", out, "--number",
                   settings.number, *sampler, *SETS[made], *more, "--resume"), out / "manifest.csv", f"sample {made}")


def composition(settings: PaysSettings, data: Path, made: str, category: str) -> tuple[object, ...]:
    """Grounds and masks of a class's composites, where they are given."""
    if "--compose" not in SETS[made]:
        return ()
    ground = ("--ground", data / settings.ground) if settings.ground not in (None, category) else ()
    masks = settings.masks / category if settings.masks else None
    return (*ground, *(("--masks", masks) if masks and masks.is_dir() else ()))


def classify(settings: PaysSettings, regime: Regime, draw: str, arm: Arm, steps: int) -> Job:
    """All seeds of one arm on one draw."""
    network = arm.features if arm.protocol == "frozen" else settings.network
    out = settings.out / "results" / draw / settings.training(steps)
    return Job(("classify.py", "--data", settings.out / "data" / draw, "--runs", settings.out / "runs", "--network",
                network, *images_of(settings, regime, draw, arm, out), *training_of(settings, arm, steps),
                *arm.arguments, "--name", arm.name, "--seeds", settings.seeds, "--resume", "--out", out),
               out / f"{network}-{arm.name}-1.json",
               f"classify {arm.name}" + (f", {steps} steps" if arm.protocol == "equal" else ""), settings.seeds)


def images_of(settings: PaysSettings, regime: Regime, draw: str, arm: Arm, results: Path) -> tuple[object, ...]:
    """Which images join the real ones. `results` is the folder where the arm "real" leaves its weights of images."""
    if arm.sees_again:
        return ("--control", "steps", "--number", settings.number, "--share", settings.share, "--hard",
                results / f"hard-{settings.network}-{ARMS[0].name}-1.csv")
    if not arm.generated:
        return ()
    others = [name for name in settings.categories if name != regime.rare]
    return ("--mode", "expand", "--generated", settings.out / "sets" / draw / arm.generated,
            *(("--real-only", *others) if regime.rare else ()),
            *(("--share", settings.share) if arm.protocol == "equal" and arm.arguments != PRETRAIN else ()))


def training_of(settings: PaysSettings, arm: Arm, steps: int) -> tuple[object, ...]:
    """How the arm's network is trained."""
    if arm.protocol == "frozen":
        return ("--balanced",)
    start = classify_drawn(settings, steps).done.with_suffix(".safetensors") if arm.from_drawn else settings.pretrained
    how = ("--side", settings.side, *(("--pretrained", start) if start else ()))
    if arm.protocol == "paper":
        return (*how, "--epochs", settings.paper_epochs)
    return (*how, *equal_terms(settings, steps))


def equal_terms(settings: PaysSettings, steps: int) -> tuple[object, ...]:
    """What all arms of the protocol "equal" have in common."""
    return ("--steps", steps, "--augment", "strong", "--average", "--balanced",
            *(("--upright",) if settings.upright else ()))


def classify_drawn(settings: PaysSettings, steps: int) -> Job:
    """One classifier of drawn textures, by the kind of their marks. All draws share it."""
    out = settings.out / "results" / DRAWN / settings.training(steps)
    return Job(("classify.py", "--data", settings.out / "data" / DRAWN, "--runs", settings.out / "runs", "--network",
                settings.network, "--side", settings.side, *equal_terms(settings, steps),
                *(("--pretrained", settings.pretrained) if settings.pretrained else ()), "--name", DRAWN, "--resume",
                "--out", out),
               out / f"{settings.network}-{DRAWN}-1-random.json", f"classify {DRAWN}, {steps} steps", 1)
