"""The list of photographs, and fetching them from where they come from."""
import io
import re
import urllib.error

import numpy as np
import pytest
from commands import here
from PIL import Image

from stablesdg.prior import fetch
from stablesdg.prior.photographs import list_photographs
from stablesdg.prior.textures import draw

FETCH = ("-m", "stablesdg.prior.fetch")


def as_png(index):
    with io.BytesIO() as file:
        Image.fromarray(draw(index, side=96).image).save(file, "PNG")
        return file.getvalue()


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Two photographs on a server that this test plays; the second is not the one that was used."""
    pictures = {"textures/a%20b.png": as_png(0), "textures/c.png": as_png(1)}
    fetch.save(as_png(0), tmp_path / "used" / "0.jpg")
    fetch.save(as_png(2), tmp_path / "used" / "1.jpg")
    origins = [fetch.Origin(f"metal/{i}.jpg", "someone/textures", "0" * 40, path, "CC0", "metal plate",
                            fetch.fingerprint(tmp_path / "used" / f"{i}.jpg"))
               for i, path in enumerate(("textures/a b.png", "textures/c.png"))]
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return io.BytesIO(pictures[url.split("0" * 40 + "/")[1]])

    monkeypatch.setattr(fetch, "read_origins", lambda: origins)
    monkeypatch.setattr(fetch.urllib.request, "urlopen", urlopen)
    return asked


def test_photographs_are_fetched_once_and_strangers_are_named(served, tmp_path):
    out = here(tmp_path, *FETCH, "surfaces")
    assert "1 of them look unlike the ones that were used: metal/1.jpg" in out and len(served) == 2
    assert served[0] == f"https://raw.githubusercontent.com/someone/textures/{'0' * 40}/textures/a%20b.png"
    here(tmp_path, *FETCH, "surfaces")
    assert len(served) == 2
    first, _ = list_photographs(tmp_path / "surfaces")
    assert (first.file, first.origin) == ("metal/0.jpg", "someone/textures (CC0)") and "plate" in first.words


def test_without_a_network_the_error_says_that_one_is_needed(served, tmp_path, monkeypatch):
    def urlopen(url, timeout):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(fetch.urllib.request, "urlopen", urlopen)
    assert "where there is a network" in here(tmp_path, *FETCH, "surfaces", ok=False)


def test_a_fingerprint_survives_compression_and_tells_photographs_apart(tmp_path):
    prints = []
    for i in range(8):
        path = tmp_path / f"{i}.jpg"
        fetch.save(as_png(i), path)
        prints.append(fetch.fingerprint(path))
        Image.open(path).save(path, "JPEG", quality=60)
        assert fetch.distance(fetch.fingerprint(path), prints[-1]) <= fetch.MAX_DISTANCE
    assert np.mean([fetch.distance(a, b) for a in prints for b in prints if a != b]) > 2 * fetch.MAX_DISTANCE


def test_the_list_has_an_origin_and_a_licence_for_every_photograph():
    origins = fetch.read_origins()
    assert len(origins) > 3000 and len({origin.file for origin in origins}) == len(origins)
    for origin in origins:
        assert origin.licence and re.fullmatch("[0-9a-f]{40}", origin.commit)
        assert re.fullmatch("[0-9a-f]{16}", origin.fingerprint)
    assert fetch.LIST.stat().st_size < 1e6
