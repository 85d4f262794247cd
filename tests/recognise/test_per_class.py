"""Recall, balanced accuracy and macro-F1 against their definitions; the picture of a confusion matrix."""
import pytest
from PIL import ImageDraw

from stablesdg.recognise.per_class import balanced_accuracy, macro_f1, recalls, scores_in_words
from stablesdg.report.confusion import confusion_picture

COUNTS = [[8, 2], [30, 60]]  # 8 of 10, and 60 of 90


def test_balanced_accuracy_is_the_mean_recall_whatever_the_number_of_images():
    assert recalls(COUNTS).tolist() == pytest.approx([8 / 10, 60 / 90])
    assert balanced_accuracy(COUNTS) == pytest.approx((8 / 10 + 60 / 90) / 2)
    assert balanced_accuracy([[8, 2], [3, 6]]) == pytest.approx(balanced_accuracy(COUNTS))


def test_macro_f1_is_the_mean_of_the_harmonic_means_of_precision_and_recall():
    precision, recall = (8 / 38, 60 / 62), (8 / 10, 60 / 90)
    f1 = [2 * p * r / (p + r) for p, r in zip(precision, recall)]
    assert macro_f1(COUNTS) == pytest.approx(sum(f1) / 2) and macro_f1([[0, 5], [0, 5]]) == pytest.approx(1 / 3)


def test_a_class_without_images_has_no_part_in_the_means():
    counts = [[8, 2, 0], [0, 0, 0], [0, 1, 4]]
    assert balanced_accuracy(counts) == pytest.approx(0.8)
    assert macro_f1(counts) == pytest.approx((2 * 8 / 18 + 2 * 4 / 9) / 2)
    said = scores_in_words([counts], ["a", "b", "c"])
    assert "a 0.800 (n = 10), c 0.800 (n = 5)" in said


def test_words_are_the_mean_over_seeds():
    said = scores_in_words([[[10, 0], [0, 90]], COUNTS], ["a", "b"])
    assert "a 0.900 (n = 10), b 0.833 (n = 90)" in said and "0.8667, macro-F1" in said


@pytest.fixture
def drawn(monkeypatch):
    """(x, right edge, text) of every text that is drawn."""
    drawn, write = [], ImageDraw.ImageDraw.text

    def text(self, xy, text, *args, **kwargs):
        drawn.append((xy[0], xy[0] + self.textlength(text), text))
        return write(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return drawn


def test_a_confusion_picture_shows_percent_and_the_mean_number_over_seeds(drawn):
    confusion_picture([[9.5, 0.5], [30, 60]], ["a", "b"], "arm", n_seeds=2)
    texts = [text for _, _, text in drawn]
    assert {"95 %", "9.5", "5 %", "0.5", "33 %", "30", "67 %", "60", "arm, mean of 2 seeds", "a (n = 10)"} <= set(texts)
    drawn.clear()
    confusion_picture([[1, 0], [0, 1]], ["a", "b"], "arm")
    assert not any("mean of" in text for _, _, text in drawn)


def test_no_name_in_a_confusion_picture_is_cut_off_or_written_over_another(drawn):
    names = ["a", "rolled-in scale on the lower side", "inclusions of the second kind"]
    picture = confusion_picture([[1, 1, 1]] * 3, names, "arm")
    header = sorted(at for at in drawn if at[2] in names)
    assert [text for _, _, text in header] == names and all(a[1] < b[0] for a, b in zip(header, header[1:]))
    assert all(0 <= left and right <= picture.width for left, right, _ in drawn)
    labels = [right for _, right, text in drawn if "(n = 3)" in text]
    assert len(labels) == 3 and max(labels) < min(left for left, _, text in drawn if text == "33 %")
