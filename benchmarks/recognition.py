"""Does generated data help a classifier, and can we tell? The paper's last stage with weights/nano, on your data.

    python benchmarks/recognition.py neu --splits group random --networks squeezenet resnet --seeds 3

For each split, only a share alpha of the training part is kept, and adapters, sources, classical augmentation and classifiers
see nothing but that: the user who has few images. What is not kept joins the test part, so that less is left to chance. The
arm expand of classify.py is then compared with every other of its network, with p values adjusted by Holm for so many
comparisons; the arm full, too.
Everything comes from the project's own command lines, run in a folder of its own for each split; what is finished is not
run again. All seeds share one draw of real images, one training of the adapters and one set of generated images: intervals
hold for these, and for classifiers trained anew. --substitute adds the paper's Fig. 9, whose real images are drawn from the
whole training part, anew for each seed: its generated images come from the same adapters, which have seen other real images
than its arms have, as pairs.csv says.
"""
import random
import time
from pathlib import Path

import calls
from calls import ROOT, keep_settings

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.data.folders import list_categories
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_json, write_csv, write_json

SURFACE = 10  # test images of one surface, at most, of those that are not kept
ARMS = ("none", "steps", "classic", "copies", "expand", "full", "synthetic")


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], "python benchmarks/recognition.py neu --splits group --networks squeezenet")
    p.add_argument("data", type=Path, help="data set: a folder with one folder of images for each class")
    p.add_argument("--splits", nargs="+", choices=["group", "random"], default=["group", "random"])
    p.add_argument("--networks", nargs="+", default=["squeezenet", "resnet"], help="names as classify.py takes them",
                   choices=["alexnet", "vgg", "resnet", "squeezenet", "densenet"])
    p.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS,
                   help="of classify.py; full is expand by a generator of full adaptation instead of LoRA")
    p.add_argument("--seeds", type=positive, default=3, help="runs of each classifier with seeds 0, 1, ..")
    p.add_argument("--alpha", type=float, default=0.4, help="share of the training part that there is")
    p.add_argument("--epochs", type=positive, default=20, help="of each classifier")
    p.add_argument("--iterations", type=positive, default=300, help="of each training stage")
    p.add_argument("--number", type=positive, default=130, help="generated images a class")
    p.add_argument("--steps", type=positive, default=30, help="denoising steps of a full run, by DPM-Solver++")
    p.add_argument("--strengths", default="0.2,0.3,0.4,0.6", help="s that tune.py chooses from")
    p.add_argument("--guidances", default="1", help="w that tune.py chooses from; 1 is no guidance")
    p.add_argument("--tune-number", type=positive, default=27, help="images for each pair of s and w")
    p.add_argument("--min-novelty", type=float, default=1.0, help="least median novelty that tune.py may choose")
    p.add_argument("--substitute", type=float, nargs="*", default=[], help="alphas of Fig. 9, for example .8 .6 .4")
    p.add_argument("--generate-only", action="store_true", help="stop before the classifiers")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks/recognition"))
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    args.data, args.weights = args.data.resolve(), args.weights.resolve()
    keep_settings(args.out, {k: getattr(args, k) for k in ("data", "weights", "alpha", "iterations", "number", "steps",
                                                           "strengths", "guidances", "tune_number", "min_novelty")})
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
    calls.call(command, place, place / "log.txt")
    print(f"{(time.monotonic() - start) / 60:5.1f} min  {place.name}: {' '.join(map(str, command))}", flush=True)


def keep_share(place, args, method):
    """The split of `place`: of each class's training part only a share alpha stays, see `share_out`."""
    manifest = place / "runs" / args.data.name / "split.json"
    if manifest.exists():
        return
    call(place, "-m", "stablesdg.split", args.data, "--split", method, "--out", manifest.with_name("whole.json"))
    split = read_json(manifest.with_name("whole.json"))
    for category in list_categories(args.data):
        groups = {}
        for name, entry in sorted(split["files"].items()):
            if name.startswith(f"{category.name}/") and entry["part"] == "train":
                groups.setdefault(entry["group"], []).append(name)
        for name, part in share_out(groups, args.alpha).items():
            split["files"][name]["part"] = part
    write_json(manifest, split)


def share_out(groups, alpha):
    """{name: part} of {group: [name, ..]}: a share alpha of all names, in whole groups, stays in the training part; the others
    become test images, of one group at most SURFACE of them, since more tell little. Raises UserError if no group is as
    small as that share."""
    room, parts = round(alpha * sum(map(len, groups.values()))), {}
    if min(map(len, groups.values())) > room:
        raise UserError(f"{min(groups)} is one of groups of overlapping images, the smallest of which is larger than {room} "
                        "images: a larger --alpha is needed.")
    for group in random.Random(0).sample(sorted(groups), len(groups)):
        kept = len(groups[group]) <= room
        room -= kept * len(groups[group])
        parts |= {name: "train" if kept else "test" if i < SURFACE else "spare" for i, name in enumerate(groups[group])}
    return parts


def generate(place, args, category):
    """TI, LoRA, the choice of s and w, samples and round trips of one category in runs/DATASET; for the arm full the same TI,
    full adaptation, its own choice and samples in runs/DATASET-full. The round trips use no adapter."""
    lora, full = (place / "runs" / name / category.name for name in (args.data.name, f"{args.data.name}-full"))
    train(place, args, category, lora, "ti")
    if "full" in args.arms and not full.exists() and not (lora / "lora.safetensors").exists():
        calls.copy_folder(lora, full)
    train(place, args, category, lora, "lora")
    sample(place, args, lora, "samples")
    sample(place, args, lora, "copies", "--strength", 0, "--out", lora / "copies")
    if "full" in args.arms:
        train(place, args, category, full, "ti")
        train(place, args, category, full, "full", "--full")
        sample(place, args, full, "samples")


def train(place, args, category, folder, stage, *how):
    call(place, "train_ti.py" if stage == "ti" else "train_lora.py", "--data", category, "--weights", args.weights,
         "--iterations", args.iterations, "--out", folder, "--resume", *how, done=folder / f"preview-{stage}.png")


def sample(place, args, folder, name, *how):
    """Images of a run in its folder `name`, by the s and w that tune.py chooses for it, unless `how` says otherwise."""
    sampling = ["--run", folder, "--sampler", "dpm", "--steps", args.steps, "--resume"]
    call(place, "tune.py", *sampling, "--features", "nano", "--strengths", args.strengths, "--guidances", args.guidances,
         "--min-novelty", args.min_novelty, "--number", args.tune_number, done=folder / "tune.png")
    call(place, "sample.py", *sampling, "--number", args.number, *how, done=folder / f"preview-{name}.png")


def classify(place, args, network, arm, alpha, out, generator):
    """One arm of one network with all its seeds, by the split of `place` and the generated images of `generator`."""
    from stablesdg.recognise.arms import CONTROLS

    how = ["--mode", "expand", "--name", "full"] if arm == "full" else ["--control" if arm in CONTROLS else "--mode", arm]
    generated = generator / "runs" / (args.data.name + "-full" * (arm == "full"))
    call(place, "classify.py", "--data", args.data, "--network", network, *how, "--alpha", alpha, "--epochs", args.epochs,
         "--seeds", args.seeds, "--resume", "--out", out, *([] if arm == "none" else ["--generated", generated]))


def summarise(place):
    """summary.csv: each arm's accuracy with its interval; pairs.csv: expand, or substitute, against each other arm."""
    from stablesdg.recognise.arms import compare_all, describe
    from stablesdg.recognise.arms import summarise as figures

    rows, pairs = [], []
    for folder in ("classify", "substitute"):
        results = [read_json(file) for file in sorted((place / folder).glob("*.json"))]
        for a in results:
            s = figures(a)
            rows.append((folder, a["network"], a["alpha"], a["name"], len(a["rows"]), a["rows"][0]["epochs"],
                         *(f"{s[k]:.4f}" for k in ("mean", "sd", "low", "high"))))
            print(f"{place.name} {folder} {a['network']} alpha {a['alpha']:g} {describe(a)}")
            if a["arm"] in ("expand", "substitute"):
                for c in compare_all(a, results):
                    pairs.append((folder, a["network"], a["alpha"], a["name"], c["against"], c["seeds"], a["unseen"],
                                  *(f"{c[k]:.4f}" for k in ("difference", "low", "high", "p", "adjusted_p"))))
                    print(f"  {c['sentence']}")
    write_csv(place / "summary.csv", ("experiment", "network", "alpha", "arm", "seeds", "epochs", "accuracy", "sd", "low",
                                      "high"), rows)
    write_csv(place / "pairs.csv", ("experiment", "network", "alpha", "arm", "against", "seeds", "seen by its generator alone",
                                    "difference", "low", "high", "p", "adjusted p"), pairs)
    print(f"wrote {place / 'summary.csv'} and pairs.csv")


if __name__ == "__main__":
    run_main(main)
