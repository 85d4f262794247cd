"""Choose s and w for a category by FID on held-out images: the paper's Table IV.

    python tune.py --run runs/neu/Pa               # -> tune.csv, tune.png, tune-images.png; the choice in choice.json

Every cell of the grid makes images from the same training images with the same seeds, so that cells differ by s and w
alone. They are compared with the validation part, never with the test part. FID falls towards s = 0, where images are
copies: --min-novelty excludes cells whose median novelty is lower. Cells within a standard deviation of the best one,
or below the floor, may have been ranked by chance, so the one of least s among them is chosen. sample.py then uses the
choice by itself, with the sampler and steps that it was made with.
"""
import argparse
from pathlib import Path

from stablesdg.app import runs
from stablesdg.app.command_line import add_common, add_model, finite, numbers, parser, positive, run_main
from stablesdg.storage.errors import UserError
from stablesdg.storage.lock import alone_in
from stablesdg.storage.torchrun import is_first

GUIDANCES = (3.0, 4.0, 5.0, 6.0, 7.0)  # Table IV, as the default of --strengths is
LEAST_IMAGES = 2  # of a cell: a distance needs that many


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python tune.py --run runs/neu/Pa --strengths 0.3,0.5,0.7 --guidances 1.5,3", many=True)
    add_model(p)
    p.add_argument("--data", type=Path, help="folder of the category's real images (default: the run's)")
    p.add_argument("--strengths", type=numbers, default="0.3,0.4,0.5,0.6,0.7", help="values of s, between commas")
    p.add_argument("--guidances", type=numbers,
                   help="values of w, between commas (default: the recipe's, or 3,4,5,6,7)")
    p.add_argument("--number", type=positive, default=100, help="images a cell")
    p.add_argument("--halving", action="store_true",
                   help="start all cells with few images and go on with the better half")
    p.add_argument("--min-novelty", type=finite, default=0.0, help="least median novelty of a cell that may be chosen")
    p.add_argument("--features", choices=["inception", "nano"],
                   help="the feature network (default: inception if its weights are there)")
    p.add_argument("--steps", type=positive, default=50, help="denoising steps of a full run; s times these are run")
    p.add_argument("--sampler", default="ddim", choices=["ddim", "dpm", "ddpm", "paper"],
                   help="paper is Algorithm 1; dpm, DPM-Solver++(2M), needs a third of ddim's steps")
    p.add_argument("--batch-size", type=positive, default=8, help="images at once")
    add_common(p.add_argument_group("run"))
    p.add_argument("--resume", action="store_true", help="keep the finished cells of an interrupted call")
    args = p.parse_args(argv)
    if not all(0 <= s <= 1 for s in args.strengths):
        raise UserError("--strengths must lie in [0, 1].")
    if args.number < LEAST_IMAGES:
        raise UserError(f"--number must be at least {LEAST_IMAGES}: a distance needs that many images a cell.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    folder = args.run or runs.latest_run()
    with alone_in(folder):
        tune(args, folder)


def tune(args: argparse.Namespace, folder: Path) -> None:
    """Search the grid for a run folder, and write the choice into it."""
    from stablesdg.app import model, processes, sampling, tuning
    from stablesdg.evaluate.tuning import Cell, CellSettings, choose, search

    processes.start()
    record = runs.require_run(folder)
    with processes.first_alone():
        images = tuning.find_images(args.data or Path(record["data"]))
    print(f"run: {folder}; sources: {len(images.sources)} training images; compared with {len(images.held_out)} "
          "validation images")
    sd = model.open_model(args.weights, args.device, args.dtype, record)
    trained = model.load_adapters(sd, folder, record, args.adapters)
    images.refuse_leak(trained.seen, folder)
    strengths = args.strengths
    guidances = args.guidances or tuple(model.from_recipe(sd, "tune", guidances=None)["guidances"] or GUIDANCES)
    step_counts = {s: len(sampling.steps_to_run(sd, s, args.steps, args.sampler)) for s in strengths}
    if above_zero := [s for s in strengths if s > 0]:
        sampling.warn_of_few_steps(above_zero[0], step_counts[above_zero[0]])

    number = tuning.images_of_a_cell(args.number, images.sources)
    settings = CellSettings(trained.prompt, trained.resolution, number, args.batch_size, args.steps, args.sampler,
                            args.seed)
    grid = tuning.open_grid(sd, settings, images, args.features, folder, args.resume)
    cells = [Cell(s, w) for s in strengths for w in guidances]
    rounds = [max(LEAST_IMAGES, number // k) for k in ((4, 2, 1) if args.halving else (1,))]
    try:
        results = search(grid, cells, rounds, args.min_novelty)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(tuning.finished_cells(grid)) from None
    if not is_first():
        return
    best, least = choose(results, args.min_novelty, grid.floor.fid)
    tuning.save_pictures(folder, grid, strengths, guidances, best.cell)
    runs.write_choice(folder, {"s": best.s, "w": best.w, "fid": best.fid, "novelty": best.novelty, "n": best.number,
                               "sampler": args.sampler, "steps": args.steps, "features": grid.extractor.kind,
                               "n_validation": len(images.held_out), "min_novelty": args.min_novelty,
                               **tuning.standing(grid, best)})
    tuning.report_choice(folder, grid, best, least)
    for name, chosen, tried in (("--strengths", best.s, strengths), ("--guidances", best.w, guidances)):
        if len(tried) > 1 and chosen in (tried[0], tried[-1]):
            print(f"the choice lies at the edge of {name}: others beyond {chosen:g} may be better")


if __name__ == "__main__":
    run_main(main)
