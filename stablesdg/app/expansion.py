"""What surrounds the stages of expand.py: what is refused, stages run or skipped, time told, data exported."""
import dataclasses
import importlib
import runpy
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..compose.given import read_given
from ..data.folders import list_images
from ..data.split import load_split, part_files
from ..recognise import costs
from ..recognise.advice import DO_NOT
from ..report.html import write_report
from ..report.read import read_findings
from ..report.to_use import to_use
from ..storage.errors import UserError
from ..storage.files import read_optional_json
from ..storage.torchrun import is_first, size
from . import processes
from .command_line import duration, is_out_of_memory
from .commands.plan import LEAK
from .devices import pick_device, pick_dtype
from .environment import ROOT
from .expand_settings import ExpandSettings
from .expanded import export_expanded
from .journal import Journal, fingerprint, keep_warnings
from .paths import dataset_folder
from .stages import FEWEST_TO_CHOOSE_BY, TRAINING, Stage, can_tune, evaluation_stage, tunes, with_arguments

TRAINING_STEP_SECONDS = 0.35  # of SqueezeNet, 32 images of 200 x 200 on one core
MODULES = "stablesdg.app.commands."


def require_marked_sources(settings: ExpandSettings, folder: Path) -> None:
    """Raise UserError now, and not after the training of a class, if masks or boxes of its training images are of no
    use."""
    if not (settings.masks or settings.boxes):
        return
    split = load_split(folder / "split.json", [settings.data / name for name in settings.all_categories])
    for name in settings.generated:
        given = read_given(settings.masks and settings.masks / name, settings.boxes and settings.boxes / name, None,
                           part_files(split, settings.data / name, "train"))
        if given:
            given.unmarked()


def require_shares() -> None:
    """Raise UserError if there are more processes than images in a training step: torchrun can start too many."""
    if size() > costs.BATCH_SIZE:
        raise UserError(f"expand.py trains with {costs.BATCH_SIZE} images a step, which {size()} processes cannot "
                        f"share: start at most {costs.BATCH_SIZE} by --nproc_per_node.")


def decide(settings: ExpandSettings, folder: Path) -> bool:
    """Whether images are made, by the plan where --method auto leaves it open. Says why."""
    advice = read_optional_json(folder / "plan" / "plan.json").get("advice", {})
    if settings.method != "auto":
        print(f"images are made, as --method {settings.method} asks for")
        return True
    if advice.get("verdict") != DO_NOT:
        return True
    print(f"no images are made: {advice.get('why', 'the plan advises against it')}. --method image makes them all the "
          "same")
    return False


def say_not_tuned(settings: ExpandSettings, folder: Path) -> None:
    """Name the classes that have too few validation images for a choice of s and w."""
    few = [name for name in settings.generated if tunes(settings) and not can_tune(folder / "split.json", name)]
    if few:
        print(f"s and w are not chosen for {', '.join(few)}: fewer than {FEWEST_TO_CHOOSE_BY} validation images to "
              "compare with. The weights' recipe, or else Table I, has them")


# ---- one stage --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clock:
    """The time since the start."""
    settings: ExpandSettings
    start: float = dataclasses.field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.start

    def is_used_up(self) -> bool:
        """Whether the budget is."""
        return self.settings.budget is not None and self.seconds() >= self.settings.budget


def run_stages(stages: Sequence[Stage], notes: Journal, clock: Clock) -> bool:
    """Run stages one after the other, until the time is used up. Returns whether some is left."""
    return all(run_stage(stage, notes, clock) for stage in stages)


def run_stage(stage: Stage, notes: Journal, clock: Clock) -> bool:
    """Run a stage, or say why not. Returns whether there is time for further stages.

    Of many processes, the first one decides. The others help where work can be shared, and wait where it cannot.
    Raises UserError in a process of many whose part of the stage fails: the others may wait for it.
    """
    in_time, chosen = processes.of_first(lambda: choose(stage, notes, clock))
    if not chosen:
        return in_time
    started = time.monotonic()
    with keep_warnings() as warnings:
        why = (run_program(chosen) if chosen.is_shared
               else processes.of_first_by_itself(lambda: run_program(chosen)))
    if why:
        print(f"== {stage.label} failed: {why}", flush=True)
        if is_first():
            notes.fail(stage, why)
    elif is_first():
        notes.end(stage, time.monotonic() - started, warnings)
    if why and size() > 1:
        raise UserError(f"{stage.label} failed ({why.rstrip('.')}). Mend that, and the same command goes on.")
    processes.wait_for_all()
    return True


def choose(stage: Stage, notes: Journal, clock: Clock) -> tuple[bool, Stage | None]:
    """(whether there is time, the stage as it is to be run now, or None for not at all). Says so.

    A stage is not run if its category has failed before.
    """
    read = fingerprint(stage.reads, stage.split)
    if notes.is_done(stage, read):
        print(f"== {stage.label}: done before, skipped", flush=True)
        return True, None
    if stage.category and any(one["category"] == stage.category for one in notes.failed):
        return True, None
    if clock.is_used_up():
        print(f"== the budget is used up before {stage.label}; the same command goes on with it", flush=True)
        return False, None
    interrupted = notes.is_interrupted(stage, read)
    notes.begin(stage, read)
    print(f"== {stage.label}, {duration(clock.seconds())} after the start\n$ {stage.command}", flush=True)
    return True, with_arguments(stage, interrupted)


def run_program(stage: Stage) -> str:
    """Run the main() of a script or command. Returns why it failed, or ""."""
    try:
        if stage.program.endswith(".py"):
            main = runpy.run_path(str(ROOT / stage.program))["main"]
        else:
            main = importlib.import_module(MODULES + stage.program).main
        main(list(stage.arguments))
    except (UserError, OSError) as error:
        return str(error)
    except Exception as error:  # a fault of the program ends this stage, and no other
        if is_out_of_memory(error):
            return f"not enough memory ({str(error).splitlines()[0]})"
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    except SystemExit as exit:
        if (stage.program, exit.code) == ("plan", LEAK):
            print("warning: the split leaks: images outside the training part share surface with it, so that "
                  "accuracies are too high")
        elif exit.code:
            return f"it ended with exit code {exit.code}"
    except KeyboardInterrupt:  # what the stage says names its own options
        raise KeyboardInterrupt(f"{stage.label} is not finished; what was saved is kept, and the same command goes "
                                "on") from None
    return ""


# ---- what is said and written -----------------------------------------------------------------------------------


def dry_run_lines(settings: ExpandSettings, stages: Sequence[Stage]) -> list[str]:
    """A table of the stages with minutes and memory."""
    cost = stage_costs(settings)
    lines, total = [f"{'minutes':>8}  {'GiB':>5}  stage"], 0.0
    for stage in stages:
        kind, amount = stage.operations
        minutes, gib = cost.get(kind, (0.0, 0.0))
        total += minutes * amount
        lines.append(f"{minutes * amount:8.1f}  {gib:5.1f}  {stage.label}: {stage.command}")
    where = ("timed here" if settings.is_small else
             f"computed for a GPU that sustains {costs.TERA_FLOP_PER_SECOND} TFLOP/s")
    return [*lines, f"{total:8.1f}  minutes in all, {where}; those of networks are for SqueezeNet on one idle core of "
                    "a CPU. Split, plan and scores are not counted. Where the plan advises against generation, only "
                    "the classifier on frozen features is trained"]


def stage_costs(settings: ExpandSettings) -> dict[str, tuple[float, float]]:
    """{operation: (minutes of one, GiB)}."""
    first = list_images(settings.data / settings.generated[0])[0]
    with Image.open(first) as image:
        width, height = image.size
    device = pick_device(settings.device)
    found = (costs.nano_costs(width, height, device, pick_dtype("auto", device)) if settings.is_small
             else costs.stable_diffusion_costs())
    per = {costs.EMBEDDING: costs.ITERATIONS, costs.LORA: costs.ITERATIONS, costs.DPM_IMAGES: costs.IMAGES}
    said = {cost.stage: (cost.minutes / per[cost.stage], cost.gib) for cost in found if cost.stage in per}
    step = TRAINING_STEP_SECONDS * (settings.side / 200) ** 2
    return {**said, "images": said[costs.DPM_IMAGES], TRAINING: (step / 60, costs.NANO_GIB)}


def close(settings: ExpandSettings, notes: Journal, clock: Clock) -> None:
    """Write the expanded data set, test the classifier to use once more image by image, and write the report."""
    folder = dataset_folder(settings.data)
    out = folder / "expanded"
    if count := processes.of_first_by_itself(lambda: export_expanded(settings.data, folder, out)):
        print(f"wrote {out}: {count} images in folders train, val and test, and origin.csv, which says where each is "
              "from")
    if chosen := processes.of_first(lambda: to_use(read_findings(folder, settings.data))):
        run_stage(evaluation_stage(settings, folder, chosen.result.setup.stem), notes, clock)
    if is_first():
        notes.save()
    print(f"wrote {processes.of_first_by_itself(lambda: write_report(folder, settings.data))}")
