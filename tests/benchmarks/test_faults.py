"""Random kills and damaged input, at a size that takes seconds."""
import re
import sys

import pytest
from commands import call
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGALRM")


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path):
    out = call(tmp_path, "benchmarks/faults.py", "--stages", "ti", "--kills", "1")
    assert re.search(r"^\| ti \| [\d.]+ \| 1 \| [01] \| 1 \| 1 \|$", out, re.M), out


def test_no_damaged_input_of_a_hundred_does_harm(tmp_path):
    out = call(tmp_path, "benchmarks/fuzz.py", "--inputs", "100", "--seed", "7")
    assert "100 inputs in" in out and out.strip().endswith("0 findings")


def test_an_exception_and_a_hanging_input_are_findings(monkeypatch):
    import fuzz

    def fail(chance, place):
        raise KeyError("x")

    def wait(chance, place):
        fuzz.stop()

    for harm, told in ((fail, "KeyError: 'x'"), (wait, "Hangs: more than 10 seconds")):
        monkeypatch.setattr(fuzz, "KINDS", {"csv": (harm, 1)})
        assert fuzz.one_input(0, 0)[0] == "csv" and told in fuzz.one_input(0, 0)[1]


def test_what_is_compared_after_a_kill_has_no_times_but_every_number(tmp_path):
    import faults

    (tmp_path / "run.json").write_text('{"seconds": 1, "stages": [{"finished": "today", "s": 0.3}]}')
    (tmp_path / "log.csv").write_text("step,minutes,loss\n1,2,3\n")
    (tmp_path / ".unfinished-x.json").touch()
    assert faults.contents(tmp_path) == {"run.json": {"stages": [{"s": 0.3}]}, "log.csv": [{"step": "1", "loss": "3"}]}
