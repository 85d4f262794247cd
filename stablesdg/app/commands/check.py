"""Style and types of the code, by ruff and pyright: python -m stablesdg.check

Makes its own virtual environment first.
"""
import argparse

from stablesdg.app.environment import ensure_environment, run


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser("python -m stablesdg.check", description=__doc__).parse_args(argv)
    python = ensure_environment("tests/requirements.txt")
    run(python, "-m", "ruff", "check", ".")
    run(python, "-m", "pyright")


if __name__ == "__main__":
    main()
