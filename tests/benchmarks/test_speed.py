"""The speed table at a size that takes seconds. What it says of speed is not tested."""
import re
import sys
from importlib.metadata import version

import pytest
import torch
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
SMALL = ["--side", "32", "--batch-size", "1", "--rounds", "1", "--images", "3", "--steps", "2", "--device", "cpu"]


def test_each_kind_of_work_is_timed_beside_its_peer(capsys):
    import speed

    threads = torch.get_num_threads()
    speed.main(["lora", "ti", "sample", "features", "overlap", "share", "--threads", "1", *SMALL])
    torch.set_num_threads(threads)
    out = capsys.readouterr().out
    assert f"torch {version('torch')}, diffusers {version('diffusers')}" in out and "1 threads, float32" in out
    for work in ("LoRA", "TI"):  # seconds and their ratio, MiB and their ratio
        assert re.search(rf"^{work} step, 32 px, batch 1( +[\d.]+s){{2}} +[\d.]+x( +\d+){{2}} +[\d.]+x$", out, re.M)
    assert re.search(r"^image to image, 32 px, batch 1, 1 steps +[\d.]+s +[\d.]+s +[\d.]+x", out, re.M)
    assert re.search(r"^nano features, 3 images of 32 px +[\d.]+s", out, re.M)
    assert re.search(r"^overlaps, 3 images of 32 px +[\d.]+s", out, re.M)
    for network in ("UNet, 32 px, batch 2, float32", "Inception, batch 1, float32"):  # seconds, and of how many
        assert re.search(rf"^{network} +[\d.]+s [1-9]\d* of \d+ GFLOP/s, \d+%$", out, re.M)


def test_an_unknown_kind_of_work_is_named_with_those_that_there_are(capsys):
    import speed

    with pytest.raises(SystemExit):
        speed.main(["flying"])
    assert "there is no flying: there are lora, ti, sample, fid" in capsys.readouterr().err


def test_the_median_of_the_rounds_counts_and_the_first_one_warms_up():
    import clock

    ticks = iter([0, 100, 100, 103, 103, 108, 108, 115])  # rounds of 100, 3, 5 and 7 seconds
    measured = clock.measure({"ours": lambda: None}, 3, torch.device("cpu"), lambda: next(ticks))
    assert measured["ours"].seconds == 5


def test_the_peer_computes_with_the_small_numbers_that_the_scripts_flush_to_zero():
    from speed_rows import with_denormals

    from stablesdg.app.devices import pick_device

    products = []
    a, b = torch.full((8,), 1e-30), torch.full((8,), 1e-10)
    pick_device("cpu")
    if (a * b).any():
        pytest.skip("this processor cannot flush small numbers to 0")
    with_denormals(lambda: products.append(bool((a * b).all())))
    assert products == [True] and not (a * b).any()
