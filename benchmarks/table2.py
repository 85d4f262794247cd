"""The paper's Table II with weights/nano: which stages help, by FD-nano from noise and from images.

    python benchmarks/table2.py neu/Pa neu/Cr neu/Sc --seeds 2

Every cell comes from the project's own command lines, run as a user would run them; what is finished is not run again.
Beside the paper's rows stand full adaptation, and the same full training from random instead of pretrained weights.
The reference is the training part, which the adapters saw, as FID's usual reading of the paper has it. A distance falls
with the number of images, so every one here, the floor of real against other real images among them, is the mean over
random draws of the same number on both sides. Novelty stands beside it (0 is a copy of a training image, see
stablesdg/novelty.py), because a distance rewards copies. --imagenet measures the same images by an unrelated network,
too (see imagenet.py).
"""
import shutil
from pathlib import Path
from statistics import mean, median

from calls import ROOT, atomic_folder, call, copy_folder, keep_settings

from stablesdg.app.command_line import parser, positive, run_main
from stablesdg.app.paths import split_file
from stablesdg.data.split import load_split, part_files
from stablesdg.evaluate.score import score
from stablesdg.storage.files import read_csv, read_json, write_csv, write_json

# row -> (training commands that its run folder needs, which of the adapters it samples with)
ROWS = {"prior as it is": (["ti"], "none"), "TI": (["ti"], "all"), "LoRA": (["lora"], "all"),
        "TI + LoRA": (["ti", "lora"], "all"), "TI + full": (["ti", "full"], "all"), "full, from random weights": (["full"], "all")}
HEADER = ("network", "category", "row", "from noise", "from images", "each seed, noise", "each seed, images", "floor", "N",
          "novelty, noise", "novelty, images")


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], "python benchmarks/table2.py neu/Pa neu/Sc --seeds 2")
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
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    keep_settings(args.out, {k: getattr(args, k) for k in ("iterations", "number", "steps", "sampler", "strength")}
                  | {"weights": args.weights.resolve()})
    random_weights = args.out / "random-weights"
    if not random_weights.exists():
        make_random(args.weights, random_weights)
    table = []
    for network in ("nano", "imagenet")[:1 + args.imagenet]:
        for data in args.data:
            table += rows(args, data, network, random_weights)
    file, done = args.out / "table2.csv", {(row[0], row[1]) for row in table}
    earlier = [[row[key] for key in HEADER] for row in (read_csv(file) if file.is_file() else [])
               if (row["network"], row["category"]) not in done]
    write_csv(file, HEADER, earlier + table)
    print(f"wrote {args.out / 'table2.csv'}; N generated {args.number}, {args.seeds} seeds")


def rows(args, data, network, random_weights):
    """The table of one category by one feature network."""
    table = []
    for row, (stages, adapters) in ROWS.items():
        weights = random_weights if "random" in row else args.weights
        cells, novelty = {"noise": [], "images": []}, {"noise": [], "images": []}
        for seed in range(args.seeds):
            folder = args.out / data.name / f"{'random-' * ('random' in row)}{'-'.join(stages)}-{seed}"
            train(args, data, folder, stages, weights, seed)
            for start in cells:
                result, out = measure(args, data, folder, adapters, start, seed, network)
                cells[start].append(result["fid_same_n"])
                novelty[start].append(median(float(image["novelty"]) for image in read_csv(out / "manifest.csv")))
        seeds = {start: " ".join(f"{x:.3f}" for x in v) for start, v in cells.items()}
        table.append((network, data.name, row, *(f"{mean(v):.3f}" for v in cells.values()), *seeds.values(),
                      f"{result['floor']:.3f}", result["same_n"], *(f"{mean(v):.2f}" for v in novelty.values())))
        print(f"{data.name} {network} {row:25} from noise {seeds['noise']:16} (novelty {mean(novelty['noise']):.2f}) from images "
              f"{seeds['images']:14} ({mean(novelty['images']):.2f}) floor {result['floor']:.3f} N = {result['same_n']}", flush=True)
    return table


def train(args, data, folder, stages, weights, seed):
    first = args.out / data.name / f"ti-{seed}"
    if len(stages) > 1 and stages[0] == "ti" and not folder.exists():  # the same TI: its row has trained it already
        copy_folder(first, folder, "samples-*")
    for stage in stages:
        output = folder / {"ti": "embedding", "lora": "lora", "full": "full"}[stage]
        if not output.with_suffix(".safetensors").is_file():
            common = ["--data", data, "--out", folder, "--weights", weights, "--iterations", args.iterations, "--seed", seed,
                      "--resume"]
            call(["train_ti.py" if stage == "ti" else "train_lora.py", *common, *["--full"] * (stage == "full")], None,
                 args.out / "log.txt")


def measure(args, data, folder, adapters, start, seed, network):
    """One cell: the score of images of a run folder against the training part of the real ones, and their folder."""
    out = folder / f"samples-{start}-{adapters}"
    if not (out / "manifest.csv").is_file():
        how = ["--from-noise"] if start == "noise" else ["--strength", args.strength] if args.strength is not None else []
        call(["sample.py", "--run", folder, "--out", out, "--adapters", adapters, "--number", args.number, "--steps", args.steps,
              "--sampler", args.sampler, "--seed", 100 + seed, *how, "--resume"], None, args.out / "log.txt")
    file = out / f"score-{network}.json"
    if not file.is_file() and network == "nano":
        call(["fid.py", training_part(args, data), out, "--features", "nano", "--json", file], None, args.out / "log.txt")
    elif not file.is_file():
        from imagenet import folder_features

        write_json(file, score(folder_features(training_part(args, data)), folder_features(out)))
    return read_json(file), out


def training_part(args, data):
    """A folder of links to the training images."""
    folder = args.out / data.name / "real"
    if not folder.is_dir():
        split = load_split(split_file(data), [data])
        with atomic_folder(folder) as temporary:
            for file in part_files(split, data, "train"):
                (temporary / file.name).symlink_to(file.resolve())
    return folder


def make_random(weights, folder):
    """A copy of the weights with UNet and text encoder drawn at random."""
    import torch

    from stablesdg.models.stable_diffusion import load_stable_diffusion, unet_sizes
    from stablesdg.models.unet import UNet
    from stablesdg.weights.export import save_half, save_half_text

    torch.manual_seed(0)
    sd = load_stable_diffusion(weights)
    with atomic_folder(folder) as temporary:
        shutil.copytree(weights, temporary, dirs_exist_ok=True)
        save_half(UNet(**unet_sizes(read_json(weights / "unet" / "config.json"), weights)), temporary / "unet")
        save_half_text(type(sd.text.model)(sd.text.model.config), temporary / "text_encoder")


if __name__ == "__main__":
    run_main(main)
