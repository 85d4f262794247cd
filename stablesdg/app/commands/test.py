"""All tests: python -m stablesdg.test

Makes its own virtual environment first, with the libraries that the tests compare with. The cores share the test files.
Arguments go to pytest.
"""
import argparse
import os

from stablesdg.app.environment import ensure_environment, run

MOST_WORKERS = 4  # each needs up to 4 GiB


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser("python -m stablesdg.test", description=__doc__, usage="%(prog)s [ARGUMENTS OF PYTEST]")
    _, arguments = p.parse_known_args(argv)
    cores = os.cpu_count() or 1
    workers = min(MOST_WORKERS, cores)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // workers)))  # more threads than cores are slow
    run(ensure_environment("tests/requirements.txt"), "-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile",
        *arguments)


if __name__ == "__main__":
    main()
