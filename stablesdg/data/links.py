"""Which images of a data set share surface. They are compared once: links.json keeps it as long as no file changes."""
from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from threading import Event

import numpy as np

from ..storage.files import read_optional_json, sha256, write_json
from .arithmetic import one_thread
from .overlap import Progress
from .surfaces import Files, NamedOverlap, Pair, category_of, find_links, in_order, progress_bar

SEARCH = 1  # one more whenever the search for overlaps finds something else
PAIRS_SHOWN = 6  # of a class, in a picture
SEARCHES_AT_ONCE = 4  # each keeps the spectra of its images in memory


@dataclass(frozen=True)
class LinkedPair:
    """Two images that overlap."""
    first: str
    second: str
    share: float  # of the smaller image's area that is common
    correlation: float  # of the common pixels


@dataclass(frozen=True)
class FoundLinks:
    """What the search found."""
    overlaps: list[LinkedPair]
    copies: list[Pair]  # one picture twice, be it mirrored or turned
    not_compared: int  # pairs whose sizes lie too far apart: see alike.read_alike

    @property
    def pairs(self) -> set[Pair]:
        """All pairs that share surface."""
        return {in_order(o.first, o.second) for o in self.overlaps} | set(self.copies)


def is_across(pair: Pair) -> bool:
    """Whether the images are of two classes."""
    return category_of(pair[0]) != category_of(pair[1])


def search_links(fresh: Files, known: Files) -> FoundLinks:
    """Compare new images with each other and with known ones, within the classes of the new ones and across classes."""
    files, work = {**known, **fresh}, []
    for category in dict.fromkeys(map(category_of, fresh)):
        own = {name: file for name, file in files.items() if category_of(name) == category}
        work.append((False, own, f"overlaps in {category}"))
    if len(set(map(category_of, files))) > 1:
        work.append((True, files, "overlaps across classes"))
    stop = Event()
    with one_thread(), ThreadPoolExecutor(min(SEARCHES_AT_ONCE, os.cpu_count() or 1)) as threads:
        tasks = [threads.submit(find_links, own, until(stop, progress_bar(label)), own.keys() & fresh.keys(),
                                across=across)
                 for across, own, label in reversed(work)]  # the last takes longest, so it begins first
        try:
            found = [task.result() for task in reversed(tasks)]
        except BaseException:
            stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return FoundLinks([LinkedPair(o.first, o.second, round(o.overlap.share, 4), round(o.overlap.correlation, 4))
                       for some in found for o in some.overlaps],
                      sorted({pair for some in found for pair in some.copies}),
                      sum(some.not_compared for some in found))


def until(stop: Event, progress: Progress) -> Progress:
    """A loop that ends early once `stop` is set: other threads do not hear of Ctrl-C."""
    def rows(places: range) -> Iterator[int]:
        yield from takewhile(lambda _: not stop.is_set(), progress(places))

    return rows


def find_or_read(files: Files, kept: Path) -> FoundLinks:
    """Compare all images of a data set, {CATEGORY/FILE: path}, or read what was found before among the same files.

    kept  links.json
    """
    digests = {name: sha256(path) for name, path in sorted(files.items())}
    before = read_optional_json(kept)
    if (before.get("search"), before.get("files")) == (SEARCH, digests):
        return FoundLinks([LinkedPair(**pair) for pair in before["overlaps"]],
                          [in_order(*pair) for pair in before["copies"]], before["not_compared"])
    links = search_links(files, {})
    write_json(kept, {"search": SEARCH, "files": digests, **asdict(links)})
    return links


def overlaps_to_show(links: FoundLinks, files: Files) -> dict[str, list[NamedOverlap]]:
    """A few pairs of each class, and of two classes under "across", laid over each other anew for pictures.

    What is not found again when the two are compared alone is left out.
    """
    by_class: dict[str, list[LinkedPair]] = {}
    for pair in links.overlaps:
        pair_class = "across" if is_across((pair.first, pair.second)) else category_of(pair.first)
        by_class.setdefault(pair_class, []).append(pair)
    shown = {k: [overlap for pair in choose(pairs) for overlap in
                 find_links({name: files[name] for name in (pair.first, pair.second)}).overlaps]
             for k, pairs in by_class.items()}
    return {k: overlaps for k, overlaps in shown.items() if overlaps}


def choose(pairs: Sequence[LinkedPair]) -> list[LinkedPair]:
    """A few pairs, from the one with least in common to the one with most."""
    ordered = sorted(pairs, key=lambda pair: pair.share)
    places = np.linspace(0, len(ordered) - 1, min(PAIRS_SHOWN, len(ordered))).round().astype(int)
    return [ordered[i] for i in places]
