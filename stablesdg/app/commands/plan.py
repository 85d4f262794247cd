"""Do you need generated images? What a data set tells before anything is trained: python -m stablesdg.plan neu

    python -m stablesdg.plan neu                         # all of it, in a minute or two -> runs/neu/plan/
    python -m stablesdg.plan neu --audit-only            # overlaps and files alone; needs no PyTorch
    python -m stablesdg.plan neu --parts train test      # do given folders neu/train/CLASS and neu/test/CLASS leak?
    python -m stablesdg.plan neu --export neu-parts      # -> neu-parts/train/CLASS, neu-parts/val/CLASS, ..

Exit code: 0 if all is well, 1 for an error, 2 if images outside the training part share surface with it.
"""
from __future__ import annotations

import argparse
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from stablesdg.app.command_line import add_device, parser, run_main
from stablesdg.app.paths import dataset_folder
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_optional_json, write_json
from stablesdg.storage.settings import as_json

if TYPE_CHECKING:
    from stablesdg.data.audit import Audit
    from stablesdg.recognise.baseline import Plan

LEAK = 2  # exit code
STARTED = time.monotonic()


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.plan neu")
    p.add_argument("data", type=Path, help="folder with one folder of images for each class")
    p.add_argument("--audit-only", action="store_true", help="look at files and overlaps alone; needs no PyTorch")
    p.add_argument("--parts", nargs="+", metavar="FOLDER",
                   help="training, perhaps validation, and test part, as folders in DATA; the audit tells whether they "
                        "leak")
    p.add_argument("--export", type=Path, metavar="FOLDER",
                   help="new folder for copies of the images, train/CLASS, val/CLASS and test/CLASS")
    p.add_argument("--features", type=Path, metavar="FILE",
                   help="state dict of a torchvision network whose features are a baseline (default: "
                        "efficientnet-lite0's, if its packages are installed)")
    add_device(p)
    try:
        args = p.parse_args(argv)
    except SystemExit as exit:  # argparse ends with 2, which means a leak here
        sys.exit(min(1, int(exit.code or 0)))
    if args.parts and len(args.parts) not in (2, 3):
        raise UserError("--parts takes two folders, training and test part, or three, with the validation part between "
                        "them.")
    if args.features and (args.audit_only or args.parts):
        raise UserError("--audit-only and --parts compute no features: leave out --features.")
    if args.parts and args.export:
        raise UserError("--export writes the parts of a split, and --parts names parts that are folders already: leave "
                        "one of them out.")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.data import audit, export
    from stablesdg.report import plan as report

    out = dataset_folder(args.data) / "plan"
    if args.export:
        export.require_empty(args.export)
    if args.parts:
        found = audit.audit_folders(args.data, args.parts, out / "links-parts.json")
    else:
        say(f"comparing the images of {args.data}")
        with redirect_stdout(sys.stderr):  # what dealing out the images says
            found = audit.audit_split(args.data, out.parent / "split.json", out / "links.json")
    written = report.save_linked_pairs(out, found)
    file = out / ("plan-parts.json" if args.parts else "plan.json")  # the report reads plan.json
    if args.audit_only or args.parts:
        lines, figures = report.audit_lines(found), {"audit": found.as_json()}
        before = read_optional_json(file)
        if before.get("audit") == as_json(figures["audit"]):
            figures = before  # of the same images: what else it says still holds
    else:
        made = measure(args, found)
        lines, figures = report.plan_lines(made), made.as_json()
        written.append(report.save_curves(out / "learning-curve.png", made.curves))
    print("\n".join(lines))
    write_json(file, figures)
    print("", f"wrote {', '.join(map(str, [file, *written]))}", sep="\n")
    if args.export and found.leaked:
        print(f"{args.export} was not written: the split leaks")
    elif args.export:
        count = export.export_parts(found.files, found.parts, args.export)
        print(f"wrote {args.export}: copies of {count} images")
    if found.leaked:
        sys.exit(LEAK)


def measure(args: argparse.Namespace, found: Audit) -> Plan:
    """All that needs PyTorch."""
    from stablesdg.app import devices
    from stablesdg.recognise import baseline

    device = devices.pick_device(args.device)
    return baseline.plan_data(found, args.features, device, devices.pick_dtype("auto", device), say)


def say(text: str) -> None:
    """What is done next. It goes to the error output, so that the recommendation is the first line of the other."""
    print(f"plan, {time.monotonic() - STARTED:.0f} s: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main(main)
