"""Type and axes for pictures: Pillow's own font in sizes that are legible at 100 %, and round numbers on axes."""
import functools
import math
import unicodedata
from collections.abc import Sequence

from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]
SMALL, NORMAL, TITLE = 11, 13, 15  # pixels
LEADING = 1.25  # of a line's height
TWO_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "→": "->", "−": "-"}
EXTRA = "±×°µ"  # beside ASCII, what the font has
LIGHT_INK, DARK_INK = (255, 255, 255), (0, 0, 0)


@functools.lru_cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def spelled(text: str) -> str:
    """The text in letters that the font has: ä as ae, é as e, others as ?."""
    def plain(letter: str) -> str:
        if letter.isascii() or letter in EXTRA:
            return letter
        if unicodedata.combining(letter):
            return ""
        base = "".join(part for part in unicodedata.normalize("NFKD", letter) if part.isascii())
        return TWO_LETTERS.get(letter) or base or "?"

    return "".join(map(plain, unicodedata.normalize("NFC", text)))


def write(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: Colour, size: int = NORMAL) -> None:
    """Write lines of text whose upper left corner is at (x, y)."""
    for k, line in enumerate(text.split("\n")):
        pen.text((x, y + k * line_height(size)), spelled(line), fill=fill, font=font(size))


def write_centred(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: Colour, size: int = NORMAL) -> None:
    """Write a text whose middle is at x, and whose upper edge is at y."""
    write(pen, x - text_width([text], size) / 2, y, text, fill, size)


def write_right(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: Colour, size: int = NORMAL) -> None:
    """Write a text that ends at x, and whose upper edge is at y."""
    write(pen, x - text_width([text], size), y, text, fill, size)


def line_height(size: int) -> int:
    """Pixels from one line of text to the next."""
    return round(LEADING * size)


def text_width(texts: Sequence[str], size: int = NORMAL) -> int:
    """Pixels that the longest of some texts takes."""
    return math.ceil(max(font(size).getlength(spelled(text)) for text in texts))


def wrapped(text: str, width: int, size: int = NORMAL) -> str:
    """The text with its lines broken between words where they are longer than `width` pixels."""
    lines: list[str] = []
    for line in text.split("\n"):
        words = line.split(" ")
        lines.append(words[0])
        for word in words[1:]:
            if text_width([f"{lines[-1]} {word}"], size) <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
    return "\n".join(lines)


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever has the larger contrast by WCAG 2."""
    def linear(level: int) -> float:
        share = level / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, colour)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return LIGHT_INK if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else DARK_INK


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values between two ends, at most so many steps."""
    if not high > low:
        return [low]
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next((power * k for k in (1, 2, 2.5, 5, 10) if (high - low) / (power * k) <= most), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * k, 10) for k in range(first, last + 1)]
