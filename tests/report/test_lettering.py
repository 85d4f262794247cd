"""Type and axes of the pictures."""
import pytest

from stablesdg.evaluate.tuning import Cell, CellResult
from stablesdg.report.confusion import largest_mistake, shade
from stablesdg.report.lettering import ink_on, spelled, text_width, ticks, wrapped
from stablesdg.report.tuning import what_was_chosen


@pytest.mark.parametrize("text, drawn", [("Größe ß", "Groesse ss"), ("é ñ", "e n"), ("±0.5 − 20 °", "±0.5 - 20 °"),
                                         ("漢字", "??"), ("5 µm", "5 µm"), ("pits & <b>", "pits & <b>")])
def test_letters_that_the_font_lacks_are_spelled_in_those_that_it_has(text, drawn):
    assert spelled(text) == drawn


def test_lines_are_broken_between_words_and_no_word_is_lost():
    text = "held-out loss 0.1306 -> 0.1293: it fell by 3.8 standard errors over 32 draws"
    lines = wrapped(text, 200).split("\n")
    assert " ".join(lines) == text and len(lines) > 2 and all(text_width([line]) <= 200 for line in lines)


@pytest.mark.parametrize("low, high, expected", [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.1171, 0.1352, [0.12, 0.125, 0.13, 0.135]), (-3, 12, [0, 5, 10]),
    (5, 5, [5]), (0, 1000, [0, 200, 400, 600, 800, 1000])])
def test_ticks_are_round_numbers_inside_the_axis(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_the_ink_in_a_confusion_matrix_has_a_contrast_of_four_and_a_half_at_any_share():
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))

    for k in range(101):
        light, dark = sorted(map(luminance, (shade(k / 100), ink_on(shade(k / 100)))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, k


def test_titles_say_the_finding():
    assert largest_mistake([[8, 2, 0], [1, 9, 0], [0, 4, 6]], ["a", "b", "c"]) == "Most often mistaken: c for b, 40 %"
    assert largest_mistake([[8, 0], [0, 9]], ["a", "b"]) == "No class is taken for another"
    results = {Cell(s, 1): CellResult(s, 1, 10, fid, 0.5, 0.5, 0.5, 1) for s, fid in ((0.3, 5), (0.4, 5.5), (0.5, 9))}
    assert what_was_chosen(results, Cell(0.3, 1)) == "Chosen: s = 0.3, w = 1; 1 of 2 other cells cannot be told from it"
