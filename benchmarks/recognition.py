"""Does generated data help a classifier, and can we tell? The paper's last stage with weights/nano, on your data.

    python benchmarks/recognition.py neu --splits group random --networks squeezenet resnet --seeds 3

For each split, only a share alpha of the training part is kept, and adapters, sources, classical augmentation and classifiers
see nothing but that: the user who has few images. Every arm of classify.py is then compared with every other. Everything
comes from the project's own command lines, run in a folder of its own for each split; what is finished is not run again.
--substitute adds the paper's Fig. 9 on the whole training part, whose generated images come from the same adapters.
"""
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stablesdg import run
from stablesdg.data import list_categories
from stablesdg.files import read_json, write_csv, write_json

ARMS = ("none", "steps", "classic", "copies", "expand", "synthetic")


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python benchmarks/recognition.py neu --splits group --networks squeezenet")
    p.add_argument("data", type=Path, help="data set: a folder with one folder of images for each class")
    p.add_argument("--splits", nargs="+", choices=["group", "random"], default=["group", "random"])
    p.add_argument("--networks", nargs="+", default=["squeezenet", "resnet"], help="names as classify.py takes them")
    p.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    p.add_argument("--seeds", type=run.positive, default=3, help="runs of each classifier with seeds 0, 1, ..")
    p.add_argument("--alpha", type=float, default=0.4, help="share of the training part that there is")
    p.add_argument("--epochs", type=run.positive, default=20, help="of each classifier")
    p.add_argument("--iterations", type=run.positive, default=300, help="of each training stage")
    p.add_argument("--number", type=run.positive, default=130, help="generated images a class")
    p.add_argument("--steps", type=run.positive, default=15, help="denoising steps of a full run, by DPM-Solver++")
    p.add_argument("--strengths", default="0.4,0.6,0.8", help="s that tune.py chooses from")
    p.add_argument("--guidances", default="1,2", help="w that tune.py chooses from")
    p.add_argument("--tune-number", type=run.positive, default=27, help="images for each pair of s and w")
    p.add_argument("--min-novelty", type=float, default=0.5, help="least median novelty that tune.py may choose")
    p.add_argument("--substitute", type=float, nargs="*", default=[], help="alphas of Fig. 9, for example .8 .6 .4")
    p.add_argument("--generate-only", action="store_true", help="stop before the classifiers")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks/recognition"))
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    args.data, args.weights = args.data.resolve(), args.weights.resolve()
    for method in args.splits:
        place = (args.out / method).resolve()
        keep_share(place, args, method)
        for category in list_categories(args.data):
            generate(place, args, category)
        if args.generate_only:
            continue
        for network in args.networks:
            for arm in args.arms:
                classify(place, args, network, arm, 1, place / "classify", place)
        if args.substitute:
            whole = place / "whole"
            call(whole, "-m", "stablesdg.split", args.data, "--split", method,
                 done=whole / "runs" / args.data.name / "split.json")
            for alpha in args.substitute:
                for arm in ("none", "substitute"):
                    classify(whole, args, args.networks[0], arm, alpha, place / "substitute", place)
        summarise(place)


def call(place, *command, done=None):
    """Run a command in `place`, unless the file `done` is there; log.txt gets its output, and its minutes are printed."""
    if done and done.exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    script = [ROOT / command[0], *command[1:]] if command[0].endswith(".py") else command
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with open(place / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"$ python {' '.join(map(str, command))}\n")
        log.flush()
        subprocess.run([sys.executable, *map(str, script)], cwd=place, env=environment, check=True, stdout=log,
                       stderr=log)
    print(f"{(time.monotonic() - start) / 60:5.1f} min  {place.name}: {' '.join(map(str, command))}", flush=True)


def keep_share(place, args, method):
    """The split of `place`, with all but a share alpha of each class's training images moved to a part of no use."""
    manifest = place / "runs" / args.data.name / "split.json"
    if manifest.exists():
        return
    call(place, "-m", "stablesdg.split", args.data, "--split", method, "--out", manifest.with_name("whole.json"))
    split = read_json(manifest.with_name("whole.json"))
    for category in list_categories(args.data):
        names = [name for name, entry in sorted(split["files"].items())
                 if name.startswith(f"{category.name}/") and entry["part"] == "train"]
        for name in random.Random(0).sample(names, len(names) - round(args.alpha * len(names))):
            split["files"][name]["part"] = "spare"
    write_json(manifest, split)


def generate(place, args, category):
    """TI, LoRA, the choice of s and w, samples and round trips of one category."""
    folder = place / "runs" / args.data.name / category.name
    training = ["--data", category, "--weights", args.weights, "--iterations", args.iterations, "--resume"]
    call(place, "train_ti.py", *training, done=folder / "embedding.safetensors")
    call(place, "train_lora.py", *training, done=folder / "lora.safetensors")
    call(place, "tune.py", "--run", folder, "--features", "nano", "--strengths", args.strengths, "--guidances", args.guidances,
         "--min-novelty", args.min_novelty, "--number", args.tune_number, "--sampler", "dpm", "--steps", args.steps,
         "--resume", done=folder / "tune.png")
    sampling = ["sample.py", "--run", folder, "--number", args.number, "--sampler", "dpm", "--steps", args.steps, "--resume"]
    call(place, *sampling, done=folder / "preview-samples.png")
    call(place, *sampling, "--strength", 0, "--out", folder / "copies", done=folder / "preview-copies.png")


def classify(place, args, network, arm, alpha, out, generator):
    """One arm of one network with all its seeds, by the split of `place` and the generated images of `generator`."""
    from stablesdg.recognition import CONTROLS

    if any(read_json(file)["alpha"] == alpha and len(read_json(file)["rows"]) >= args.seeds
           for file in out.glob(f"{network}-{arm}-*.json")):
        return
    generated = [] if arm == "none" else ["--generated", generator / "runs" / args.data.name]
    call(place, "classify.py", "--data", args.data, "--network", network, "--control" if arm in CONTROLS else "--mode", arm,
         "--alpha", alpha, "--epochs", args.epochs, "--seeds", args.seeds, "--resume", "--out", out, *generated)


def summarise(place):
    """summary.csv: each network's arms with their intervals, and every pair's difference."""
    from stablesdg.compare import compare, interval, verdict

    rows = []
    for folder in ("classify", "substitute"):
        results = [read_json(file) for file in sorted((place / folder).glob("*.json"))]
        for result in results:
            mean, sd, low, high = interval(result["correct"], result["test_groups"])
            rows.append((folder, result["network"], result["alpha"], result["arm"], len(result["rows"]),
                         *(f"{value:.4f}" for value in (mean, sd, low, high))))
            print(f"{place.name} {folder} {result['network']:10} alpha {result['alpha']:g} {result['arm']:10} "
                  f"{mean:.4f} +- {sd:.4f} [{low:.3f}, {high:.3f}]")
        for i, a in enumerate(results):
            for b in results[:i]:
                if all(a[k] == b[k] for k in ("network", "alpha", "test_files")):
                    print(" ", a["network"],
                          verdict(a["arm"], b["arm"], compare(a["correct"], b["correct"], a["test_groups"])))
    write_csv(place / "summary.csv", ("experiment", "network", "alpha", "arm", "seeds", "accuracy", "sd", "low", "high"), rows)
    print(f"wrote {place / 'summary.csv'}")


if __name__ == "__main__":
    run.main(main)
