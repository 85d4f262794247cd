"""The paper's Table III: which prompt, and which word of it to learn.

    python benchmarks/prompts.py neu/Pa               # -> runs/benchmarks/prompts/Pa.csv and Pa.png
    python benchmarks/prompts.py neu/Pa --prompts "A photo of {<unknown>}" "A photo of {patches}" "{patches} on steel"

Braces mark the token that is learned. Each prompt gets a token embedding and a LoRA of its own. What is finished is not
run again.
"""
import re
import sys
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bars import save_bars
from run_scores import RunScore, RunScoresSettings, measure, open_settings, scores_parser, train, write_scores

from stablesdg.app.command_line import run_main
from stablesdg.storage.errors import UserError

PROMPTS = ("A photo of {<unknown>}", "A photo of {defect}", "{<unknown>}")


def main(argv: list[str] | None = None) -> None:
    p = scores_parser(__doc__, "python benchmarks/prompts.py neu/Pa", "prompts")
    p.add_argument("--prompts", nargs="+", default=list(PROMPTS), help="y, with the token to learn in braces")
    args = vars(p.parse_args(argv))
    prompts: list[str] = list(dict.fromkeys(args.pop("prompts")))
    parts = {prompt: split_prompt(prompt) for prompt in prompts}
    settings = open_settings(args)
    scores = {prompt: run(settings, *parts[prompt]) for prompt in prompts}
    bars = [("real against real: the floor", next(iter(scores.values())).floor),
            *((prompt, score.distance) for prompt, score in scores.items())]
    save_bars(settings.out / f"{settings.category}.png",
              f"{settings.category}: distance from real images ({settings.features})", bars)
    write_scores(settings, "prompt", scores)


def split_prompt(text: str) -> tuple[str, str]:
    """(prompt, token) of a prompt whose token stands in braces."""
    found = re.findall(r"\{([^{}]+)\}", text)
    if len(found) != 1:
        raise UserError(f"The prompt {text!r} must have one token in braces, as in 'A photo of {{<unknown>}}'.")
    return text.replace("{", "").replace("}", ""), found[0]


def run(settings: RunScoresSettings, prompt: str, token: str) -> RunScore:
    """TI and LoRA of one prompt."""
    words = f"{prompt} {token}"
    name = f"{re.sub(r'[^0-9A-Za-z]+', '-', words).strip('-')}-{sha256(words.encode()).hexdigest()[:6]}"
    for stage in ("ti", "lora"):
        train(settings, settings.place / name, stage, "--prompt", prompt, "--token", token)
    return measure(settings, settings.place / name)


if __name__ == "__main__":
    run_main(main)
