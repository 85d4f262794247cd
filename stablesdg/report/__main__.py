"""Write a data set's report, one page that holds everything: python -m stablesdg.report runs/neu"""
import argparse
from pathlib import Path

from stablesdg.app.command_line import parser, run_main


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    p = parser(__doc__, "python -m stablesdg.report runs/neu")
    p.add_argument("folder", type=Path, help="run folder of a data set")
    p.add_argument("--data", type=Path, help="folder of the real images (default: the one that the runs name)")
    p.add_argument("--out", type=Path, help="the page (default: report.html in the run folder)")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)

    from stablesdg.report import html

    file = html.write_report(args.folder, args.data, args.out)
    print(f"wrote {file} ({file.stat().st_size / 2**20:.1f} MiB): open it in a browser")


if __name__ == "__main__":
    run_main(main)
