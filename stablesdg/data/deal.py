"""New images to their parts: those that share surface with images already dealt out go where these are.

New images that overlap each other form a chain. A chain that shares surface with images of two parts would connect
these. So it is cut: its images beside the validation or test part are left out of all parts, and the manifest says why.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..storage.errors import UserError
from ..storage.files import sha256
from .links import FoundLinks, is_across, search_links
from .parts import LEFT_OUT, PARTS, LeftOutEntry, Split, SplitEntry, count, group_parts
from .surfaces import Pair, category_of, components, in_order, same_photograph


@dataclass(frozen=True)
class NewImages:
    """Images of one category that the split does not know."""
    folder: Path  # of the category
    files: dict[str, Path]  # by name

    @property
    def category(self) -> str:
        """The folder's own name, as it begins the names of the images."""
        return self.folder.resolve().name


@dataclass(frozen=True)
class Surfaces:
    """The groups of new images, and what is fixed about them."""
    groups: dict[str, str]  # by name, of the new images that get a part
    fixed: dict[str, str]  # group -> part, where its surface was dealt out before
    left_out: dict[str, str]  # name -> why, of new images that would connect two parts
    across: set[Pair]  # pairs of two classes that share surface


def deal(split: Split, new: Sequence[NewImages], to: str | None = None,
         found: FoundLinks | None = None) -> dict[str, SplitEntry]:
    """The manifest's entries of new images. Says what is dealt out and why.

    to     the part that takes what shows no known surface, where the categories are known already
    found  what a comparison of all images has found before (default: they are compared)

    Raises UserError if, under a random split, one picture would lie in two parts.
    """
    digests = {name: sha256(file) for images in new for name, file in images.files.items()}
    by_surface = split["method"] == "group"
    surfaces = find_surfaces(split, new, found) if by_surface else find_same_files(split, new, digests)
    fixed, entries = dict(surfaces.fixed), dict[str, SplitEntry]()
    for images in new:
        groups = {name: surfaces.groups[name] for name in images.files if name not in surfaces.left_out}
        if to:
            parts = {name: fixed.get(group, to) for name, group in groups.items()}
        else:
            parts = group_parts(groups, split["seed"], split["ratios"], fixed)
        fixed |= {group: parts[name] for name, group in groups.items()}
        made = {name: SplitEntry(sha256=digests[name], group=groups[name], part=parts[name]) for name in groups}
        if split["method"] == "random":
            require_one_part(made, {**split["files"], **entries})
        tell(images.category, made, surfaces, bool(to))
        entries |= made
    entries |= {name: LeftOutEntry(sha256=digests[name], group=name, part=LEFT_OUT, why=why)
                for name, why in surfaces.left_out.items()}
    if surfaces.left_out:
        first = min(surfaces.left_out)
        print(f"left out of all parts: {count(len(surfaces.left_out), 'image')}. {first} {surfaces.left_out[first]}. "
              "The manifest says why of each; --replace would make a split that has a part for all images")
    return entries


# ---- surfaces ---------------------------------------------------------------------------------------------------


def find_surfaces(split: Split, new: Sequence[NewImages], found: FoundLinks | None) -> Surfaces:
    """Compare new images with each other and with those of the split whose files lie beside them.

    found  what such a comparison of all images has found before
    """
    fresh = {name: file for images in new for name, file in images.files.items()}
    known = files_beside(split, new[0].folder)
    found = found or search_links(fresh, known)
    pairs = {pair for pair in found.pairs if fresh.keys() & set(pair)}
    across = set(filter(is_across, pairs))
    if copies := sorted(pair for pair in found.copies if pair in across):
        a, b = copies[0]
        print(f"warning: {count(len(copies), 'picture')} in two classes, {a} and {b} first: which is it?")
    if found.not_compared:
        print(f"{count(found.not_compared, 'pair')} of images are not compared, because their sizes lie too far "
              "apart and their scale is unknown")
    photographs = {pair for pair in same_photograph({**fresh, **known}) if fresh.keys() & set(pair)}
    across |= set(filter(is_across, photographs))
    return join_groups(split, fresh, (pairs | photographs) - across, across)


def files_beside(split: Split, folder: Path) -> dict[str, Path]:
    """{name: path} of the split's images that lie beside the folder of a category. Says if some do not."""
    found = {}
    for data in (folder.resolve().parent, folder.parent):
        found |= {name: data / name for name in split["files"] if (data / name).is_file()}
    if absent := sorted({category_of(name) for name in split["files"] if name not in found}):
        print(f"note: images of {', '.join(absent)} that the split lists are not in {folder.parent}, and are not "
              "compared with new ones")
    return found


def join_groups(split: Split, fresh: Iterable[str], pairs: Collection[Pair], across: Collection[Pair]) -> Surfaces:
    """Connect new images with each other and with the groups that there are. These keep their names and parts."""
    known = {name: entry for name, entry in split["files"].items() if entry["part"] != LEFT_OUT}
    left_out = cut_chains(known, fresh, {*pairs, *across})
    links = {pair for pair in (*pairs, *across) if not left_out.keys() & set(pair)}
    kept = sorted(set(fresh) - left_out.keys())
    first: dict[str, str] = {}
    held = {in_order(first.setdefault(entry["group"], name), name) for name, entry in sorted(known.items())}
    component = components([*split["files"], *kept], links | held)
    homes: dict[str, dict[str, str]] = {}  # component -> {group of the split: its part}
    for name, entry in sorted(known.items()):
        homes.setdefault(component[name], {})[entry["group"]] = entry["part"]
    groups, fixed = dict[str, str](), dict[str, str]()
    first_new: dict[str, str] = {}  # by component
    for name in kept:
        home = homes.get(component[name], {})
        torn = len(set(home.values())) > 1  # by images that were dealt out before
        part = "train" if torn else next(iter(home.values()), None)
        own = first_new.setdefault(component[name], name)
        groups[name] = group = next((group for group in home if home[group] == part), own)
        if part:
            fixed[group] = part
    return Surfaces(groups, fixed, left_out, {pair for pair in across if pair in links})


def cut_chains(known: Mapping[str, SplitEntry], fresh: Iterable[str], links: Collection[Pair]) -> dict[str, str]:
    """{name: why} of the new images to leave out, so that no chain of new images connects two parts."""
    new = set(fresh)
    chain = components(new, {pair for pair in links if new >= set(pair)})
    beside: dict[str, dict[str, str]] = {name: {} for name in chain}  # {part: the known image that is there}
    for a, b in sorted(links):
        for name, other in ((a, b), (b, a)):
            if name in beside and other in known:
                beside[name].setdefault(known[other]["part"], other)
    parts: dict[str, set[str]] = {}
    for name, there in beside.items():
        parts.setdefault(chain[name], set()).update(there)
    left_out = {}
    for name, there in beside.items():
        if len(parts[chain[name]]) > 1 and (part := next((p for p in PARTS[1:] if p in there), None)):
            others = " and ".join(p for p in PARTS if p in parts[chain[name]] - {part})
            left_out[name] = (f"shares surface with {there[part]} of the {part} part and connects it with the {others} "
                              "part")
    return left_out


def find_same_files(split: Split, new: Sequence[NewImages], digests: Mapping[str, str]) -> Surfaces:
    """For a random split: copies of one file within a class stay together."""
    groups, fixed = dict[str, str](), dict[str, str]()
    for images in new:
        known = {entry["sha256"]: entry for name, entry in split["files"].items()
                 if category_of(name) == images.category}
        first: dict[str, str] = {}
        for name in images.files:
            entry = known.get(digests[name])
            groups[name] = entry["group"] if entry else first.setdefault(digests[name], name)
            if entry:
                fixed[groups[name]] = entry["part"]
    return Surfaces(groups, fixed, {}, set())


def require_one_part(made: Mapping[str, SplitEntry], known: Mapping[str, SplitEntry]) -> None:
    """Raise UserError if a picture stands among the `known` entries in another part."""
    others = {entry["sha256"]: name for name, entry in known.items()}
    for name, entry in made.items():
        if entry["sha256"] in others and known[others[entry["sha256"]]]["part"] != entry["part"]:
            raise UserError(f"{name} and {others[entry['sha256']]} are one picture in two classes, and would lie in "
                            "two parts of the split: keep it in one class.")


# ---- what is said -----------------------------------------------------------------------------------------------


def tell(category: str, made: Mapping[str, SplitEntry], surfaces: Surfaces, adding: bool) -> None:
    """Say how many images each part has or gets, and which share surface."""
    parts = [entry["part"] for entry in made.values()]
    groups = {entry["group"] for entry in made.values()}
    line = f"{'added to' if adding else 'split of'} {category}: " + ", ".join(
        f"{parts.count(part)} {part}" for part in PARTS if parts.count(part) or not adding)
    if len(groups) < len(made):
        line += f"; {count(len(groups), 'group')} of images that share surface"
    if adding and (joined := sum(entry["group"] in surfaces.fixed for entry in made.values())):
        line += f"; {joined} of them show surface that the split knows, and are where it is"
    linked = {own: other for pair in surfaces.across for own, other in (pair, pair[::-1]) if own in made}
    if linked:
        others = ", ".join(sorted({category_of(name) for pair in surfaces.across if linked.keys() & set(pair)
                                   for name in pair} - {category}))
        line += f"; sharing surface with images of {others}, and in their part: {count(len(linked), 'image')}"
    print(line)
    if not adding and (empty := [part for part in PARTS if part not in parts]):
        print(f"warning: {category} has no {' and no '.join(empty)} images, because its {len(made)} images show "
              f"{count(len(groups), 'surface')}; --split random deals them out all the same")
