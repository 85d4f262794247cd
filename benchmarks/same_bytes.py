"""Does this checkout make the same files as another one? For code changes that must not change results.

    git worktree add ../before 89ead57
    python benchmarks/same_bytes.py ../before

Both checkouts draw the demo's data, train v_d and BA, and generate by every sampler, in float32 on the CPU with
weights/nano. Adapters and images are then compared byte by byte. Exit code 1 if any differ.
"""
import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
FLOAT32 = ["--device", "cpu", "--dtype", "float32"]
TRAINING = ["--data", "demo/patches", "--iterations", "8", *FLOAT32]
SAMPLING = ["--run", "runs/demo/patches", "--number", "4", *FLOAT32]
COMMANDS = [
    ["-m", "stablesdg.steel", "demo", "--number", "12"],
    ["train_ti.py", *TRAINING],
    ["train_lora.py", "--rank", "1", *TRAINING],
    *([["sample.py", *SAMPLING, "--strength", "0.4", "--steps", "25", "--sampler", name, "--out", f"images/{name}"]
       for name in ("ddim", "dpm", "ddpm", "paper")]),
    ["sample.py", *SAMPLING, "--strength", "0.4", "--guidance", "3", "--uncond", "base", "--out", "images/base"],
    ["sample.py", *SAMPLING, "--strength", "0.6", "--steps", "20", "--compat", "diffusers", "--out", "images/compat"],
    ["sample.py", *SAMPLING, "--from-noise", "--steps", "6", "--out", "images/noise"],
    ["sample.py", *SAMPLING, "--strength", "0", "--out", "images/round-trip"],
    ["sample.py", *SAMPLING, "--classic", "--out", "images/classic"],
]
COMPARED = ("demo/**/*.png", "runs/**/embedding.safetensors", "runs/**/lora.safetensors", "runs/demo/split.json",
            "images/**/*.png", "images/**/manifest.csv")


def make_files(checkout: Path, folder: Path) -> dict[str, str]:
    """Run all commands of a checkout in `folder`. Returns {file: sha256} of what they wrote."""
    for command in COMMANDS:
        script = [str(checkout / command[0])] if command[0].endswith(".py") else [command[0]]
        subprocess.run([sys.executable, *script, *command[1:]], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                       env=os.environ | {"PYTHONPATH": str(checkout)})
    files = {file for pattern in COMPARED for file in folder.glob(pattern)}
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("other", type=Path, help="root of the other checkout")
    args = p.parse_args()
    made = []
    for checkout in (args.other.resolve(), HERE):
        with tempfile.TemporaryDirectory() as folder:
            made.append(make_files(checkout, Path(folder)))
    before, now = made
    different = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    both = before.keys() & now.keys()
    print(f"{len(both - set(different))} files are the same")
    if different:
        sys.exit("different: " + ", ".join(different))


if __name__ == "__main__":
    main()
