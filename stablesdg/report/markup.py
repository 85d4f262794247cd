"""HTML made safely: whatever is not HTML yet is escaped, so that no name of a file or a class can become a tag.

    tag("p", "sizes < 200 px")                    <p>sizes &lt; 200 px</p>
    tag("td", tag("b", name), class_="number")    <td class="number"><b>..</b></td>
"""
import html
from collections.abc import Iterable, Sequence

from ..recognise.significance import in_points

NO_BREAK = "\u00a0"  # a space at which no line ends
VOID = ("img", "meta", "br", "hr")  # elements that have no end tag


class Html(str):
    """Text that is HTML already. Any other str is escaped where it becomes part of a page."""


def as_html(part: str | int | float) -> Html:
    """HTML as it is, anything else escaped."""
    return part if isinstance(part, Html) else Html(html.escape(str(part)))


def join(parts: Iterable[str]) -> Html:
    """Parts one after the other, each escaped unless it is HTML."""
    return Html("".join(as_html(part) for part in parts))


def tag(name: str, /, *children: str | int | float, **attributes: str | int | float | None) -> Html:
    """An element. `class_="a"` becomes class="a", `stroke_width=2` stroke-width="2"; None leaves an attribute out."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
                    for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Html(f"<{name}{pairs}>")
    return Html(f"<{name}{pairs}>{''.join(map(as_html, children))}</{name}>")


def paragraphs(lines: Iterable[str]) -> Html:
    """A <p> for each line."""
    return join(tag("p", line) for line in lines)


def bullets(lines: Iterable[str]) -> Html:
    """A list with a point for each line."""
    return tag("ul", *(tag("li", line) for line in lines))


def command(lines: str) -> Html:
    """Command lines to be copied. A long one wraps, indented, and the copied text has no break."""
    return tag("pre", tag("code", *(tag("span", f"{line}\n") for line in lines.splitlines())))


def missing(what: str, line: str) -> Html:
    """A box that says what is not there yet, and the command that makes it."""
    return tag("div", tag("p", what), command(line), class_="missing")


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str | int | float]], stacked: bool = False,
          text_columns: int = 1) -> Html:
    """A table below its caption, in a box that scrolls sideways where the screen is too narrow.

    stacked       on a narrow screen each row becomes a card, with the column's name beside each value
    text_columns  so many columns from the left hold text; the others hold numbers, set to the right
    """
    def cell(k: int, value: str | int | float) -> Html:
        kind = None if k < text_columns else "number"
        if k == 0:
            return tag("th", value, scope="row")
        return tag("td", value, class_=kind, data_label=header[k])

    head = tag("tr", *(tag("th", name, scope="col", class_=None if k < text_columns else "number")
                       for k, name in enumerate(header)))
    body = [tag("tr", *(cell(k, value) for k, value in enumerate(row))) for row in rows]
    return captioned(caption, tag("table", tag("thead", head), tag("tbody", *body), aria_label=caption,
                                  class_="stacked" if stacked else None))


def captioned(caption: str, content: Html) -> Html:
    """A table below its caption. The caption stays where it is when the table is scrolled."""
    box = tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=f"{caption}, scrolls sideways")
    return join([tag("p", caption, class_="caption"), box])


def clipped(name: str, most: int = 48) -> str:
    """A long name without its middle."""
    return name if len(name) <= most else f"{name[:most - 15]}…{name[-14:]}"


def picture(uri: str, alt: str, size: tuple[int, int]) -> Html:
    """An image whose place on the page is known before it is drawn. `uri` holds its bytes."""
    return tag("img", src=uri, alt=alt, width=size[0], height=size[1])


def figure(content: str, caption: str, class_: str | None = None) -> Html:
    """A picture with the sentence below it."""
    return tag("figure", content, tag("figcaption", caption), class_=class_)


def chart_figure(finding: str, chart: str, caption: str) -> Html:
    """A chart with what it shows as its title, and how to read it below."""
    return tag("figure", tag("p", finding, class_="finding"), chart, tag("figcaption", caption))


def percent(share: float | None, digits: int = 1) -> str:
    """A share as 87.5 %, in one line, or a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f}{NO_BREAK}%"


def points(share: float) -> str:
    """A difference of shares as +2.5 or −1.0 points."""
    return in_points(share).replace("-", "−")


def count(n: int, what: str) -> str:
    """1 image, 2 images."""
    return f"{n:,} {what}{'' if n == 1 else 'es' if what.endswith('ss') else 's'}"
