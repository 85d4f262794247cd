"""Choose s and w for a category by FID on held-out images: the paper's Table IV.

    python tune.py --run runs/neu/Pa               # -> tune.csv, tune.png, tune-images.png; the choice in run.json

Every cell of the grid makes images from the same training images with the same seeds, so that cells differ by s and w
alone; they are compared with the validation part, never with the test part. FID falls towards s = 0, where images are
copies: --min-novelty excludes cells whose median novelty is lower. Of cells that chance alone may have ranked, within a
standard deviation of the best one, the one of least s is chosen. sample.py then uses the choice, and the sampler and steps
it was made with, by itself.
"""
from pathlib import Path

from stablesdg.app.command_line import add_common, parser, positive, run_main
from stablesdg.app.model import from_recipe, open_model
from stablesdg.app.paths import split_file
from stablesdg.app.runs import add_choice, latest_run, require_run
from stablesdg.storage.errors import UserError

GUIDANCES = (3.0, 4.0, 5.0, 6.0, 7.0)  # Table IV, as the default of --strengths is


def numbers(text):
    """argparse type: numbers between commas."""
    return tuple(sorted({float(part) for part in text.split(",")}))


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], "python tune.py --run runs/neu/Pa --strengths 0.3,0.5,0.7 --guidances 1.5,3")
    p.add_argument("--run", type=Path, help="run folder of a category (default: the one used last)")
    p.add_argument("--weights", help="diffusers folder or CompVis .safetensors (default: those the run was trained on)")
    p.add_argument("--adapters", default="all", help="all that the run has, none, or some of embedding,lora,full")
    p.add_argument("--strengths", type=numbers, default="0.3,0.4,0.5,0.6,0.7", help="values of s, between commas")
    p.add_argument("--guidances", type=numbers, help="values of w, between commas (default: the recipe's, or 3,4,5,6,7)")
    p.add_argument("--number", type=positive, default=100, help="images a cell")
    p.add_argument("--halving", action="store_true", help="start all cells with few images and go on with the better half")
    p.add_argument("--min-novelty", type=float, default=0.0, help="least median novelty of a cell that may be chosen")
    p.add_argument("--features", choices=["inception", "nano"],
                   help="the feature network (default: inception if its weights are there)")
    p.add_argument("--steps", type=positive, default=50, help="denoising steps of a full run; s times these are run")
    p.add_argument("--sampler", default="ddim", choices=["ddim", "dpm", "ddpm", "paper"],
                   help="paper is Algorithm 1; dpm, DPM-Solver++(2M), needs a third of ddim's steps")
    p.add_argument("--batch-size", type=positive, default=8, help="images at once")
    add_common(p.add_argument_group("run"))
    p.add_argument("--resume", action="store_true", help="keep the finished cells of an interrupted call")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    folder = args.run or latest_run()
    record = require_run(folder)
    if not all(0 <= s <= 1 for s in args.strengths):
        raise UserError("--strengths must lie in [0, 1].")
    if args.number < 2:
        raise UserError("--number must be at least 2: a distance needs that many images a cell.")

    from sample import load_adapters, say_if_few, seen_by
    from stablesdg.data.split import load_split, part_files, refuse_leak
    from stablesdg.evaluate.tuning import Grid, choose, save_pictures
    from stablesdg.generation import plan

    data = Path(record["data"])
    split = load_split(split_file(data), [data])
    sources, held_out = (part_files(split, data, part) for part in ("train", "val"))
    if len(held_out) < 2:
        raise UserError(f"{data} has {len(held_out)} validation images, too few to compare with: choose s and w by eye.")
    print(f"run: {folder}; sources: {len(sources)} training images; compared with {len(held_out)} validation images")
    sd = open_model(args, record)
    prompt, resolution = load_adapters(sd, folder, record, args)
    refuse_leak(seen_by(sd), split, f"The adapters in {folder}")
    args.guidances = args.guidances or tuple(from_recipe(sd, "tune", guidances=None)["guidances"] or GUIDANCES)

    try:
        counts = {s: len(plan(sd, s, args.steps, args.sampler)) for s in args.strengths}
    except ValueError as error:
        raise UserError(f"{error}.") from None
    if mildest := [s for s in args.strengths if s > 0]:
        say_if_few(mildest[0], counts[mildest[0]])

    grid = Grid(sd, prompt, resolution, sources, held_out, args, folder)
    cells = [(s, w) for s in args.strengths for w in args.guidances]
    rounds = [max(2, args.number // 4), max(2, args.number // 2), args.number] if args.halving else [args.number]
    for k, number in enumerate(rounds):
        for cell in cells:
            row = grid.measure(cell, number)
            print(f"s = {row['s']:g}, w = {row['w']:g}: {grid.name} {row['fid']:.3f} +- {row['fid_sd']:.3f}, "
                  f"novelty {row['novelty']:.2f}, ssim {row['ssim']:.2f} (N = {number})", flush=True)
        if k + 1 < len(rounds):
            ranked = sorted(cells, key=lambda c: (grid.rows[c]["novelty"] < args.min_novelty, grid.rows[c]["fid"]))
            cells = ranked[:max(2, len(ranked) // 2)]
    best, least = choose([grid.rows[cell] for cell in cells], args.min_novelty)
    save_pictures(folder, grid, args, best)
    add_choice(folder, {**{k: best[k] for k in ("s", "w", "fid", "novelty")}, "n": best["number"], "sampler": args.sampler,
                            "steps": args.steps, "features": grid.features, "n_validation": len(held_out),
                            "min_novelty": args.min_novelty})
    if best is not least:
        print(f"s = {least['s']:g}, w = {least['w']:g} has the least {grid.name}, {least['fid']:.3f} +- {least['fid_sd']:.3f}; "
              "within that, the cell nearest to the sources is taken")
    print(f"chosen: s = {best['s']:g}, w = {best['w']:g} ({grid.name} {best['fid']:.3f}, floor of real against real at "
          f"these numbers {grid.floor:.3f}); sample.py --run {folder} uses them; wrote "
          f"{folder}/tune.csv, tune.png, tune-images.png")
    for name, chosen, tried in (("--strengths", best["s"], args.strengths), ("--guidances", best["w"], args.guidances)):
        if len(tried) > 1 and chosen in (tried[0], tried[-1]):
            print(f"the choice lies at the edge of {name}: others beyond {chosen:g} may be better")


if __name__ == "__main__":
    run_main(main)
