"""A tokenizer of CLIP's format, made from captions."""
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, pre_tokenizers
from transformers import CLIPTokenizer

from ..storage.files import write_json

START, END = "<|startoftext|>", "<|endoftext|>"
WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # what CLIP's tokenizer takes for one word


def make_tokenizer(captions: Iterable[str], folder: Path, length: int) -> CLIPTokenizer:
    """A CLIPTokenizer with the merges that these captions teach. Its files are kept in `folder`.

    Its tokens have CLIP's order: 256 bytes, the same bytes at the end of a word, merges, start, end.
    """
    if not (folder / "tokenizer_config.json").is_file():
        bytes_, merges = sorted(pre_tokenizers.ByteLevel.alphabet()), learn_merges(captions)
        tokens = [*bytes_, *(b + "</w>" for b in bytes_), *dict.fromkeys(a + b for a, b in merges), START, END]
        write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
        (folder / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in [("#version:", "0.2"), *merges]),
                                           encoding="utf-8")
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "CLIPTokenizer", "model_max_length": length, "do_lower_case": True, "bos_token": START,
            "eos_token": END, "unk_token": END, "pad_token": END, "errors": "replace", "add_prefix_space": False})
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def learn_merges(captions: Iterable[str]) -> list[tuple[str, str]]:
    """The merges [(left, right)] of byte pair encoding (Sennrich et al. 2016).

    The commonest pair of neighbours becomes one symbol, until no pair occurs twice. If two pairs are equally common,
    the first in the alphabet is taken, so that the captions alone decide. The trainer of the `tokenizers` library takes
    one of them by chance.
    """
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
                                     pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    counts = Counter(word for caption in captions for word, _ in split.pre_tokenize_str(caption.lower()))
    words = [([*word[:-1], word[-1] + "</w>"], count) for word, count in counts.items()]
    merges = []
    while True:
        pairs = Counter()
        for symbols, count in words:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            return merges
        merges.append(best)
        for symbols, _ in words:
            i = 0
            while i < len(symbols) - 1:
                if tuple(symbols[i:i + 2]) == best:
                    symbols[i:i + 2] = ["".join(best)]
                i += 1
