"""What rivals.py has made, read back and written as tables: CSV files, a markdown page, and the figure of the cost."""
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from bars import save_bars

from stablesdg.recognise.results import read_results, summarise
from stablesdg.storage.files import atomic_path, read_csv, read_json, write_csv
from stablesdg.storage.tensors import load_tensors

COST_COLUMNS = ("row", "class", "training minutes", "drawing minutes", "steps", "parameters", "peak MiB")
DISTANCE_COLUMNS = ("features", "row", "class", "distance", "floor", "floor sd", "N", "novelty")
ACCURACY_COLUMNS = ("network", "row", "accuracy", "sd", "low", "high", "macro F1", "seeds")
NAMES = {"nano": "FD-nano", "imagenet": "Frechet distance of EfficientNet-Lite0's features"}
BASELINES = {"none": "real images alone", "steps": "real images alone, equal steps"}

Table = list[tuple[str, ...]]


@dataclass(frozen=True)
class RivalsSettings:
    """The arguments of rivals.py, and where its results lie."""
    data: Path
    rows: Sequence[str]
    minutes: float
    number: int
    size: int | None
    steps: int | None
    split: str
    iterations: int | None
    options: Sequence[str]
    weights: Path
    reference: str
    imagenet: bool
    networks: Sequence[str]
    seeds: int
    epochs: int
    out: Path
    dry_run: bool

    @property
    def place(self) -> Path:
        """The folder of one data set's results."""
        return (self.out / self.data.name).resolve()

    @property
    def runs(self) -> Path:
        """The run folder of the data set."""
        return self.place / "runs" / self.data.name

    @property
    def features(self) -> list[str]:
        """The feature networks that distances are measured by."""
        return ["nano", *(["imagenet"] if self.imagenet else [])]

    def generated(self, row: str) -> Path:
        """What classify.py takes as --generated."""
        return self.runs if row == "stablesdg" else self.runs / "rivals" / row

    def folder(self, row: str, category: str) -> Path:
        """The run folder of one row and class."""
        return self.generated(row) / category

    def samples(self, row: str, category: str) -> Path:
        """The images of one row and class."""
        return self.folder(row, category) if row == "classic" else self.folder(row, category) / "samples"

    def score(self, row: str, category: str, features: str) -> Path:
        """Where the distances of one row, class and feature network are written."""
        return self.place / "scores" / f"{row}-{category}-{features}-{self.reference}.json"


# ---- rows -------------------------------------------------------------------------------------------------------


def distance_rows(settings: RivalsSettings, categories: Sequence[Path]) -> Table:
    """DISTANCE_COLUMNS of all rows: distances at equal numbers of images on both sides, and median novelty."""
    rows = []
    for features in settings.features:
        for row in settings.rows:
            for category in categories:
                found = read_json(settings.score(row, category.name, features))
                manifest = read_csv(settings.samples(row, category.name) / "manifest.csv")
                novelty = median(float(image["novelty"]) for image in manifest)
                rows.append((features, row, category.name, f"{found['fid_same_n']:.3f}", f"{found['floor']:.3f}",
                             f"{found['floor_sd']:.3f}", str(found["same_n"]), f"{novelty:.2f}"))
    return rows


def cost_rows(settings: RivalsSettings, categories: Sequence[Path]) -> Table:
    """COST_COLUMNS of all rows. What is not written down is empty."""
    return [(row, category.name, *(of_stablesdg if row == "stablesdg" else of_rival)(
        settings.folder(row, category.name))) for row in settings.rows if row != "classic" for category in categories]


def of_rival(folder: Path) -> tuple[str, ...]:
    """The cost of a rival, from its run.json."""
    record = read_json(folder / "run.json")
    memory = record["peak_memory"]
    return (f"{record['training_seconds'] / 60:.2f}", f"{record['drawing_seconds'] / 60:.2f}", str(record["steps"]),
            str(record["parameters"]), f"{memory / 2**20:.0f}" if memory else "")


def of_stablesdg(folder: Path) -> tuple[str, ...]:
    """The cost of StableSDG: both stages together, from its run.json and the adapters' files."""
    stages = read_json(folder / "run.json")["stages"]
    trained = [stages[name] for name in ("ti", "lora")]
    tensors = [tensor for name in ("embedding", "lora")
               for key, tensor in load_tensors(folder / f"{name}.safetensors")[0].items() if not key.endswith("alpha")]
    memory = max(stage.get("peak_memory") or 0 for stage in trained)
    return (f"{sum(stage['seconds'] for stage in trained) / 60:.2f}", f"{stages['sample']['seconds'] / 60:.2f}",
            str(sum(stage["arguments"]["iterations"] for stage in trained)), str(sum(t.numel() for t in tensors)),
            f"{memory / 2**20:.0f}" if memory else "")


def accuracy_rows(settings: RivalsSettings) -> Table:
    """ACCURACY_COLUMNS of all classifiers that are there."""
    found = {(result.setup.network, result.name): result for result in read_results(settings.place / "classify")}
    rows = []
    for network in settings.networks:
        for row in (*BASELINES, *settings.rows):
            if result := found.get((network, row)):
                values = summarise(result)
                figures = (f"{values[name]:.4f}" for name in ("mean", "sd", "low", "high", "macro_f1"))
                rows.append((network, row, *figures, str(len(result.seeds))))
    return rows


# ---- files ------------------------------------------------------------------------------------------------------


def write_tables(settings: RivalsSettings, categories: Sequence[Path], command: Sequence[str]) -> None:
    """distances.csv, cost.csv, accuracy.csv, minutes.png and rivals.md."""
    place, names = settings.place, [category.name for category in categories]
    distances, costs, accuracies = (distance_rows(settings, categories), cost_rows(settings, categories),
                                    accuracy_rows(settings))
    write_csv(place / "distances.csv", DISTANCE_COLUMNS, distances)
    write_csv(place / "cost.csv", COST_COLUMNS, costs)
    write_csv(place / "accuracy.csv", ACCURACY_COLUMNS, accuracies)
    minutes = {row: fmean(float(cost[2]) for cost in costs if cost[0] == row) for row in settings.rows
               if row != "classic"}
    save_bars(place / "minutes.png", "minutes of training, mean over the classes", list(minutes.items()))
    parts = ["# StableSDG and its rivals", conditions(settings, distances),
             f"```\npython benchmarks/rivals.py {shlex.join(command)}\n```"]
    for features in settings.features:
        own = [row for row in distances if row[0] == features]
        parts += [f"## {NAMES[features]} (the paper's Tables V and VII)",
                  "Smaller is nearer to the real images. Novelty is in brackets: near 0 are copies.",
                  markdown(["", *names, "mean"], distance_table(own, settings.rows, names))]
    if accuracies:
        parts += ["## Accuracy in percent (Tables VI and VIII)", "The mean of the seeds, and their standard deviation.",
                  markdown(["trained on", *settings.networks], accuracy_table(accuracies, settings))]
    parts += ["## Cost (Fig. 8)", "Means over the classes. An empty cell was not written down.",
              markdown(["", *COST_COLUMNS[2:]], cost_table(costs))]
    with atomic_path(place / "rivals.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote {place / 'rivals.md'}, distances.csv, accuracy.csv, cost.csv and minutes.png")


def conditions(settings: RivalsSettings, distances: Table) -> str:
    """One paragraph: what was equal, and how distances were measured."""
    numbers = sorted({int(row[6]) for row in distances})
    return (f"Data set {settings.data.name}, {settings.split} split. {settings.minutes:g} minutes of training for each "
            f"row and class, {settings.number} images of each. Prior: {settings.weights.name}. Distances are means "
            f"over random draws of {' or '.join(map(str, numbers))} images on both sides; the real ones are of the "
            f"part {settings.reference}.")


def distance_table(distances: Table, rows: Sequence[str], names: Sequence[str]) -> Table:
    """The floor, and then a line for each row."""
    cells = {(row[1], row[2]): row for row in distances}
    floors = [cells[rows[0], name][4] for name in names]
    table = [("real against real: the floor", *floors, mean_of(floors))]
    for row in rows:
        own = [cells[row, name] for name in names]
        table.append((row, *(f"{cell[3]} ({cell[7]})" for cell in own), mean_of([cell[3] for cell in own])))
    return table


def accuracy_table(accuracies: Table, settings: RivalsSettings) -> Table:
    """A line for each training set, a column for each classifier."""
    cells = {(row[0], row[1]): f"{100 * float(row[2]):.1f}" + (f" ({100 * float(row[3]):.1f})" if float(row[3]) else "")
             for row in accuracies}
    labels: Mapping[str, str] = {**BASELINES, **{row: f"real and {row}" for row in settings.rows}}
    return [(label, *(cells.get((network, row), "") for network in settings.networks)) for row, label in labels.items()]


def cost_table(costs: Table) -> Table:
    """A line for each row: means over the classes."""
    table = []
    for row in dict.fromkeys(cost[0] for cost in costs):
        columns = list(zip(*[cost[2:] for cost in costs if cost[0] == row]))
        table.append((row, *("" if "" in column else f"{fmean(map(float, column)):,.{digits}f}"
                             for column, digits in zip(columns, (1, 1, 0, 0, 0)))))
    return table


def mean_of(values: Sequence[str]) -> str:
    """The mean of numbers in text, to three digits after the point."""
    return f"{fmean(map(float, values)):.3f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
