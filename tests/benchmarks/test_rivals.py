"""The paper's comparisons as benchmarks: rivals, ranks, prompts, at a size that takes seconds."""
import csv
import os
import re
import sys

import pytest
from commands import here
from conftest import ROOT

from stablesdg.data import steel
from stablesdg.data.images import save_image
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_csv, read_json

sys.path.append(str(ROOT / "benchmarks"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two classes of 32 px images, commands that run in this process, and a folder of runs of its own."""
    import jobs

    for category in ("patches", "scratches"):
        for i in range(16):
            save_image(tmp_path / "steel" / category / f"{i}.png", steel.steel_image(category, i).crop((0, 0, 32, 32)))

    def call(command, log):
        command = [f"{command[1]}.__main__" if command[1] == "stablesdg.rivals" else command[1], *command[2:]
                   ] if command[0] == "-m" else command
        here(tmp_path, *command)

    monkeypatch.setattr(jobs, "call", call)
    monkeypatch.delenv("STABLESDG_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    before = os.environ.get("STABLESDG_RUNS")
    yield tmp_path
    os.environ.pop("STABLESDG_RUNS", None) if before is None else os.environ.update(STABLESDG_RUNS=before)


def test_rivals_go_from_a_data_set_to_the_tables_and_a_second_call_runs_nothing(place, capsys):
    import rivals

    command = ["steel", "--rows", "stablesdg", "classic", "dcgan", "ddim", "--minutes", "0.005", "--number", "4",
               "--size", "64", "--steps", "2", "--split", "random", "--networks", "squeezenet", "--seeds", "1",
               "--epochs", "1", "--options", "dcgan:width=16", "ddim:width=8", "ddim:batch-size=2",
               "classify:side=64", "--out", "out"]
    rivals.main([*command, "--dry-run"])
    plan = capsys.readouterr().out
    assert "to do python -m stablesdg.rivals dcgan" in plan and "AS-MANY-AS-FIT" in plan
    assert not (place / "out").exists()
    rivals.main(command)
    out = place / "out" / "steel"
    distances = read_csv(out / "distances.csv")
    assert [(row["row"], row["class"]) for row in distances] == [
        (row, category) for row in ("stablesdg", "classic", "dcgan", "ddim") for category in ("patches", "scratches")]
    assert len({row["floor"] for row in distances if row["class"] == "patches"}) == 1
    costs = {(row["row"], row["class"]): row for row in csv.DictReader(open(out / "cost.csv"))}
    assert float(costs["dcgan", "patches"]["training minutes"]) < 1 and ("classic", "patches") not in costs
    assert int(costs["stablesdg", "patches"]["steps"]) == sum(read_json(out / "iterations.json").values())
    accuracies = [(row["network"], row["row"]) for row in read_csv(out / "accuracy.csv")]
    assert accuracies == [("squeezenet", row) for row in ("none", "steps", "stablesdg", "classic", "dcgan", "ddim")]
    page = (out / "rivals.md").read_text()
    assert "FD-nano" in page and "| real and dcgan |" in page and (out / "minutes.png").is_file()
    capsys.readouterr()
    rivals.main(command)
    assert "python" not in capsys.readouterr().out.replace("python benchmarks", "")
    with pytest.raises(UserError, match="number was 4"):
        rivals.main([*command, "--number", "5"])


def test_ddim_takes_what_ddpm_has_trained(place):
    import rivals

    settings = rivals.parse(["steel", "--rows", "ddpm", "ddim", "--size", "64", "--steps", "2"])
    jobs = rivals.generation_jobs(settings, [place / "steel" / "patches"], 1)
    copies = [job.copy for job in jobs]
    assert copies == [None, None, (settings.folder("ddpm", "patches"), settings.folder("ddim", "patches")), None]
    with pytest.raises(UserError, match="classic needs"):
        rivals.parse(["steel", "--rows", "classic"])


def test_ranks_are_measured_from_one_embedding_with_their_parameters(place):
    import ranks

    ranks.main(["steel/patches", "--ranks", "2", "1", "--iterations", "1", "--number", "4", "--steps", "2", "--out",
                "out"])
    rows = read_csv(place / "out" / "patches.csv")
    assert [row["rank"] for row in rows] == ["1", "2"]
    vectors = 3 * 128
    one, two = (int(row["parameters"]) for row in rows)
    embedding = [(place / "out" / "patches" / f"rank-{r}" / "embedding.safetensors").read_bytes() for r in (1, 2)]
    assert embedding[0] == embedding[1] and one < two < 2 * one + vectors
    assert (place / "out" / "patches.png").is_file()


def test_prompts_are_measured_each_with_its_own_token(place):
    import prompts

    words = ["A photo of {<unknown>}", "{steel} with patches"]
    prompts.main(["steel/patches", "--prompts", *words, "--iterations", "1", "--number", "4", "--steps", "2", "--out",
                  "out"])
    rows = read_csv(place / "out" / "patches.csv")
    assert [row["prompt"] for row in rows] == words and (place / "out" / "patches.png").is_file()
    file, = (place / "out" / "patches").glob("steel-with-patches-steel-*/run.json")
    record = read_json(file)
    assert record["stages"]["ti"]["arguments"]["token"] == "steel"
    assert re.match("steel with patches", record["stages"]["lora"]["arguments"]["prompt"])
    with pytest.raises(UserError, match="one token in braces"):
        prompts.split_prompt("A photo")
