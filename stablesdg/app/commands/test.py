"""All tests: python -m stablesdg.test

Makes its own virtual environment first, with the libraries that the tests compare with. Arguments go to pytest.
"""
import sys

from stablesdg.app.environment import ensure_environment, run


def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    run(ensure_environment("tests/requirements.txt"), "-m", "pytest", "-q", *arguments)


if __name__ == "__main__":
    main()
