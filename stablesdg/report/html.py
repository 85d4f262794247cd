"""The report: one self-contained page for a plant engineer, of what lies in a data set's run folder.

It has its pictures inside, asks no network for anything, and runs no script. The sections stand in the order in which
they are read: the verdict first, the origin of everything last.
"""
import time
from collections.abc import Callable
from pathlib import Path

from ..storage.files import atomic_path
from .markup import Html, join, tag
from .read import Findings, read_findings
from .sections import data_section, lights_section, verdict_section
from .sections_generated import evidence_section, made_section, novelty_section
from .sections_origin import next_section, origin_section
from .sections_results import help_section, settings_section
from .style import STYLE

SECTIONS: dict[str, Callable[[Findings], list[Html]]] = {
    "The verdict": verdict_section, "Each class": lights_section, "Your data": data_section,
    "What was made": made_section, "Is the defect still there?": evidence_section,
    "Copies and outliers": novelty_section, "Does it help?": help_section, "Settings, and why": settings_section,
    "Next steps": next_section, "Origin": origin_section}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser holds the page to its promise


def write_report(folder: Path, data: Path | None = None, out: Path | None = None) -> Path:
    """Write report.html into a data set's run folder, or to `out`. Returns where it is.

    data  the folder of real images (default: the one that the runs name)

    Raises UserError if the folder is no data set's run folder.
    """
    file = out or folder / "report.html"
    page = render(read_findings(folder, data))
    with atomic_path(file) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return file


def render(findings: Findings) -> Html:
    """The whole page."""
    name = f"{findings.name}: do generated images help?"
    head = tag("head", tag("meta", charset="utf-8"), tag("title", name),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
               tag("meta", name="color-scheme", content="light dark"), tag("style", Html(STYLE)))
    contents = tag("nav", tag("ol", *(tag("li", tag("a", title, href=f"#section-{k}"))
                                      for k, title in enumerate(SECTIONS, start=1))), aria_label="Contents")
    made = f"Made by stablesdg on {time.strftime('%Y-%m-%d %H:%M')}. The page is complete: it can be sent as one file."
    body = tag("body", tag("header", tag("h1", name), tag("p", subtitle(findings), class_="subtitle")), contents,
               tag("main", *(tag("section", tag("h2", f"{k}. {title}"), *build(findings), id=f"section-{k}")
                             for k, (title, build) in enumerate(SECTIONS.items(), start=1))),
               tag("footer", tag("p", made)))
    return join([Html("<!DOCTYPE html>\n"), tag("html", head, body, lang="en"), Html("\n")])


def subtitle(findings: Findings) -> str:
    """The data set in a line."""
    images = sum(category.n_images for category in findings.categories)
    made = sum(len(category.generated) for category in findings.categories)
    n = len(findings.categories)
    return f"{n} class{'es' * (n != 1)}, {images:,} real images, {made:,} generated images"
