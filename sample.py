"""Image-oriented generation, Algorithm 1: noise real defect images to T' = sT and denoise them with guidance w.

    python sample.py --strength 0.4        # latest run -> runs/DATASET/CATEGORY/samples/*.png, manifest.csv

Each image has the size and mode of its source, and depends on its seed and its source alone (in bfloat16, up to what that
rounds away). How novel it is stands beside it in the manifest.
"""
import math
from pathlib import Path

from stablesdg import run
from stablesdg.files import UserError

# The paper's Table I: s and w that it found best for each category of NEU and CCBSD.
TABLE_I = {"Cr": (0.2, 2), "In": (0.9, 9), "Pa": (0.4, 6), "PS": (0.5, 3), "RS": (0.1, 8), "Sc": (0.5, 7),
           "Inc": (0.5, 5), "Ind": (0.2, 7), "Ox": (0.6, 3), "SG": (0.5, 4)}
STRENGTH, SAMPLER, STEPS = 0.4, "ddim", 50
ADAPTERS = ("embedding", "lora", "full")
FEW = 10  # steps to run, of any sampler; docs/results.md, "Samplers and sharpness", shows what fewer lose
TRIES = 5  # seeds that an image may use up to become as novel as --min-novelty asks


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python sample.py --strength 0.4")
    p.add_argument("--run", type=Path, help="run folder of a category (default: the one used last)")
    p.add_argument("--data", type=Path, help="folder of source images (default: the run's; its training part)")
    p.add_argument("--weights", help="diffusers folder or CompVis .safetensors (default: those the run was trained on)")
    p.add_argument("--adapters", default="all", help="all that the run has, none, or some of embedding,lora,full")
    p.add_argument("--out", type=Path, help="folder for the images (default: samples in the run folder)")
    method = p.add_argument_group("method")
    method.add_argument("--strength", type=float, help="s in (0, 1]; 0 sends the sources through the VAE and back, to compare "
                                                       "with (default: tune.py's choice, the recipe's, Table I's, or 0.4)")
    method.add_argument("--guidance", type=float, help="w (default: tune.py's choice, the recipe's, Table I's, or 5)")
    method.add_argument("--number", type=run.positive, default=100, help="images to make; the paper makes 1000")
    method.add_argument("--steps", type=run.positive,
                        help=f"denoising steps of a full run; s times these are run (default: those tune.py had, or {STEPS})")
    method.add_argument("--sampler", choices=["ddim", "dpm", "ddpm", "paper"],
                        help="paper is Algorithm 1; dpm, DPM-Solver++(2M), needs a third of ddim's steps "
                             f"(default: the one tune.py had, or {SAMPLER})")
    method.add_argument("--from-noise", action="store_true", help="start from pure noise instead of images (Table II)")
    method.add_argument("--classic", action="store_true", help="rotate and mirror the sources instead, to compare with")
    method.add_argument("--min-novelty", type=float, default=0.0,
                        help=f"draw images below this novelty again, up to {TRIES} times, and leave out those that stay below")
    method.add_argument("--uncond", default="adapted", choices=["adapted", "base"],
                        help="the unconditional branch runs with the adapters or without")
    method.add_argument("--compat", choices=["diffusers"], help="use the timesteps of diffusers' image-to-image pipeline")
    p.add_argument("--batch-size", type=run.positive, default=8,
                   help="images at once; in float32 it changes an image by one gray level at most")
    run.add_common(p.add_argument_group("run"))
    p.add_argument("--resume", action="store_true", help="keep the images that an interrupted run has finished")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    check(args)
    folder = args.run or run.latest_run()
    record = run.require_run(folder)

    import time

    from tqdm import tqdm

    from stablesdg.data import read_batches
    from stablesdg.features import load_feature_network
    from stablesdg.files import sha256, write_json
    from stablesdg.load import NANO
    from stablesdg.novelty import NoveltyMeter, save_novelty_picture
    from stablesdg.samples import check_folder, close_partial, is_finished, list_jobs, open_partial, save_pairs, source_name
    from stablesdg.split import load_split, part_files, refuse_leak

    out = args.out or folder / "samples"
    check_folder(out)
    data = args.data or Path(record["data"])
    split = load_split(run.split_file(data), [data])
    sources = part_files(split, data, "train")
    print(f"run: {folder}; sources: the {len(sources)} training images of {data}")
    settings = {k: getattr(args, k) for k in ("seed", "number", "from_noise", "classic", "min_novelty")} | {"data": str(data)}
    if args.classic:
        s, w, label, factor, resolution, draw, seen = "", "", "rotated and mirrored", 1, None, draw_classic, set()
        print(label)
    else:
        sd, draw, s, w, resolution, more, seen = open_generator(args, folder, record)
        settings |= more
        label, factor = f"generated, s = {s:g}, w = {w:g}", sd.vae.factor
    refuse_leak(seen, split, f"The adapters in {folder}")
    settings["seen"] = sorted(seen | {sha256(file) for file in sources})
    if args.resume and is_finished(out, settings):
        print(f"the images in {out} are already finished; leave out --resume to make them again")
        return
    meter = NoveltyMeter(load_feature_network(NANO / "features.safetensors", run.pick_device(args.device)), sources)

    jobs = list_jobs(sources, args.number, args.seed)
    partial, made = open_partial(out, args.resume, settings)
    columns = {"s": s if args.classic else f"{s:g}", "w": w if args.classic else f"{w:g}",
               "sampler": "classic" if args.classic else args.sampler, "steps": "" if args.classic else args.steps}
    started = time.monotonic()
    with tqdm(total=len(jobs), unit="image") as bar:
        for batch in read_batches(jobs, args.batch_size, resolution, factor):
            if not all(name in made and (made[name] is None or (partial / name).is_file()) for (_, name, _), *_ in batch):
                make_batch(batch, draw, meter, args, partial, made, columns)  # by whole batches: see --batch-size
                write_json(partial / "made.json", made)
            bar.update(len(batch))
    seconds = time.monotonic() - started

    rows = close_partial(partial, out, jobs, made)
    save_pairs(folder / f"preview-{out.name}.png", out, rows, {name: source for source, name, _ in jobs}, label)
    nearest = {source_name(f): f for f in sources}
    save_novelty_picture(folder / f"novelty-{out.name}.png",
                         [(out / row["file"], float(row["novelty"]), nearest[row["nearest"]]) for row in rows])
    if not args.classic:
        args.data, args.strength, args.guidance = data, s, w
        run.record(folder, "sample", args, sd, seconds)
    values = sorted(float(row["novelty"]) for row in rows)
    print(f"wrote {len(rows)} images to {out} in {run.duration(seconds)}; novelty {values[len(values) // 2]:.2f} (median; "
          f"0 is a copy of a training image, 1 as far as real ones are apart)")
    if len(rows) < len(jobs):
        print(f"{len(jobs) - len(rows)} images stayed below --min-novelty {args.min_novelty:g} after "
              f"{TRIES} tries and were left out")


def check(args):
    """What the arguments alone can get wrong."""
    if args.strength is not None and not 0 <= args.strength <= 1:
        raise UserError(f"--strength must lie in [0, 1], not {args.strength:g}.")
    if args.adapters not in ("all", "none") and (strange := set(args.adapters.split(",")) - set(ADAPTERS)):
        raise UserError(f"--adapters is all, none or some of {','.join(ADAPTERS)}, not {', '.join(sorted(strange))}.")
    if args.from_noise and args.strength not in (None, 1):
        raise UserError(f"--from-noise starts from pure noise, at s = 1: leave out --strength {args.strength:g}.")
    if args.classic and (args.from_noise or args.strength is not None or args.guidance is not None):
        raise UserError("--classic uses no diffusion: leave out --strength, --guidance and --from-noise.")


def open_generator(args, folder, record):
    """(model with adapters, draw(x, seeds), s, w, resolution, settings that the images depend on, sha256 of the
    images that the adapters were trained on)."""
    from stablesdg.files import sha256
    from stablesdg.generate import generate, plan

    sd = run.open_model(args, record)
    prompt, resolution = load_adapters(sd, folder, record, args)
    if args.uncond == "base" and folder / "full.safetensors" in sd.adapter_files:
        raise UserError("--uncond base needs the model without adapters, which a full adaptation has replaced: leave it out.")
    tuned = {} if args.from_noise else record.get("tuned", {})
    s, w = choose_strength_and_guidance(args, sd, folder.resolve().name, tuned)
    args.sampler, args.steps = args.sampler or tuned.get("sampler", SAMPLER), args.steps or tuned.get("steps", STEPS)
    try:
        path = plan(sd, s, args.steps, args.sampler, args.compat)
    except ValueError as error:
        raise UserError(f"{error}.") from None
    print(f"prompt {prompt!r}, s = {s:g}, w = {w:g}, {args.sampler}: " + (
        f"{len(path)} steps from t = {path[0][0]}" if path else "through the VAE and back"))
    say_if_few(s, len(path))

    def draw(x, seeds):
        return generate(sd, sd.latent_shape(x) if args.from_noise else x, seeds, prompt, strength=s, guidance=w,
                        steps=args.steps, sampler=args.sampler, uncond=args.uncond, compat=args.compat)

    settings = {k: getattr(args, k) for k in ("steps", "sampler", "uncond", "compat", "adapters")}
    settings |= {"s": s, "w": w, "prompt": prompt, "weights": sd.sha256, "resolution": resolution, "dtype": str(sd.dtype),
                 "adapter_files": [sha256(file) for file in sd.adapter_files], "device": sd.device.type}
    return sd, draw, s, w, resolution, settings, seen_by(sd)


def say_if_few(s, count):
    """`count` steps, s times those of a full run, may be too few: their images are blurred, but hardly so for the eye."""
    if 0 < count < FEW:
        print(f"s = {s:g} leaves {count} steps to run, and fewer than {FEW} lose fine detail: --steps {math.ceil(FEW / s)} keeps "
              "more of it")


def seen_by(sd):
    """sha256 of all images that the loaded adapters were trained on."""
    import json

    from stablesdg.files import load_tensors
    from stablesdg.split import SEEN

    return {digest for file in sd.adapter_files for digest in json.loads(load_tensors(file)[1].get(SEEN, "[]"))}


def draw_classic(x, seeds):
    """Rotations by up to 10 degrees and mirror images of x (B, 3, H, W)."""
    import torch

    from stablesdg.data import augment

    return torch.stack([augment(image, seed) for image, seed in zip(x, seeds)])


def make_batch(batch, draw, meter, args, partial, made, columns):
    """Generate from a batch of sources, those that are not novel enough again with other seeds; keep images and rows."""
    import torch

    from stablesdg.data import read_image, to_image
    from stablesdg.novelty import similarity
    from stablesdg.samples import keep, source_name

    pending = list(range(len(batch)))
    for attempt in range(TRIES if args.min_novelty > 0 else 1):
        seeds = [batch[i][0][2] + attempt * 1_000_000_000 for i in pending]
        y = draw(torch.stack([batch[i][1] for i in pending]), seeds)
        images = [to_image(image, batch[i][2], batch[i][3]) for i, image in zip(pending, y)]
        below = []
        for i, seed, image, (novelty, near) in zip(pending, seeds, images, meter.measure(images)):
            source, name, _ = batch[i][0]
            if novelty < args.min_novelty:
                below.append(i)
                keep(partial, made, name, None, None)
                continue
            row = {"file": name, "source": "" if args.from_noise else source_name(source), "seed": seed, **columns,
                   "novelty": f"{novelty:.4f}", "nearest": source_name(near),
                   "ssim": "" if args.from_noise else f"{similarity(image, read_image(source)[0]):.4f}"}
            keep(partial, made, name, image, row)
        pending = below
        if not pending:
            break


def load_adapters(sd, folder, record, args):
    """Load what the run learned, as far as --adapters asks for it. Returns (prompt, resolution) of the training."""
    from stablesdg.files import sha256

    files = {name: folder / f"{name}.safetensors" for name in ADAPTERS}
    stages = {"embedding": "ti", "lora": "lora", "full": "full"}
    there = [name for name in files if files[name].is_file()]
    wanted = there if args.adapters == "all" else [] if args.adapters == "none" else args.adapters.split(",")
    if missing := [name for name in wanted if name not in there]:
        raise UserError(f"{folder} has no {missing[0]}.safetensors: it has {', '.join(there) or 'no adapters'}.")
    if {"lora", "full"} <= set(wanted):
        raise UserError(f"{folder} has both lora and full.safetensors: choose with --adapters embedding,lora or embedding,full.")
    embedding = sha256(files["embedding"]) if "embedding" in there else None
    for name in ("full", "embedding", "lora"):
        if name not in wanted:
            continue
        learned_with = record["stages"].get(stages[name], {}).get("embedding_sha256")
        if name != "embedding" and learned_with != embedding and (learned_with or args.adapters == "all"):
            raise UserError(f"{files[name]} was trained with another embedding than {files['embedding']} holds now: run "
                            f"train_lora.py again, or leave it out with --adapters embedding.")
        {"embedding": sd.load_embedding, "lora": sd.load_lora, "full": sd.load_full}[name](files[name])
    print(f"adapters: {', '.join(wanted) or 'none'}")
    order = [name for name in ("lora", "full", "embedding") if name in wanted] or ["lora", "full", "embedding"]
    arguments = next(record["stages"][stages[name]]["arguments"] for name in order if stages[name] in record["stages"])
    return arguments["prompt"], run.pixels(arguments["resolution"])


def choose_strength_and_guidance(args, sd, category, tuned):
    """s and w: from the command line, else tune.py's choice, the recipe, Table I for a category of that name, 0.4 and 5."""
    strength = 1.0 if args.from_noise else args.strength
    if tuned and (strength is None or args.guidance is None):
        print(f"tune.py chose s = {tuned['s']:g}, w = {tuned['w']:g}")
    strength = tuned.get("s") if strength is None else strength
    guidance = tuned.get("w") if args.guidance is None else args.guidance
    chosen = run.from_recipe(sd, "sample", strength=strength, guidance=guidance)
    s, w = chosen["strength"], chosen["guidance"]
    if (s is None or w is None) and category in TABLE_I:
        print(f"the paper's Table I has s = {TABLE_I[category][0]}, w = {TABLE_I[category][1]} for {category}")
    s_default, w_default = TABLE_I.get(category, (STRENGTH, run.GUIDANCE))
    return (s_default if s is None else s), (w_default if w is None else w)


if __name__ == "__main__":
    run.main(main)
