"""Damaged bytes and values, and whole images of all kinds to damage, for fuzz.py."""
import io
import json
import math
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

VALUES = (None, True, -1, 0, 1.5, 1e308, math.nan, 10**30, "", "x", "a/b", "é\0", [], [1], [[]], {}, {"a": 1})
WORDS = ("", "-1", "0", "1", "2", "0.5", "nan", "inf", "-inf", "1e400", "1e-400", "9" * 30, "9" * 5000, "a", "é", "²",
         "\0", "x" * 5000, ",", "0.3,nan", "1,2", "1,,2", "../..", ".", "/", "nowhere", "empty", "file.txt", "broken",
         "broken/a", "cpu", "tpu", "none", "native", "all", "lora", "8h", "-8h", "nanh", "--", "-")
Chance = random.Random


def damage_bytes(data: bytes, chance: Chance) -> bytes:
    """Cut off, change, insert or repeat some bytes."""
    at, other = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
    near = min(len(data), chance.randrange(1, 64))
    return chance.choice([
        lambda: data[:at], lambda: data[at:], lambda: data[:at] + data[max(at, other):], lambda: b"",
        lambda: data[:near] + chance.randbytes(8) + data[near + 8:],
        lambda: data[:at] + chance.randbytes(chance.randrange(1, 9)) + data[at:],
        lambda: data[:at] + bytes([chance.randrange(256)]) + data[at + 1:],
        lambda: data[:at] + b"\0" * 16 + data[at:], lambda: data + data, lambda: data])()


def damage_value(value: Any, chance: Chance) -> Any:
    """A value of JSON in which one part is replaced, left out or named otherwise."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.2:
        return chance.choice(VALUES)
    if isinstance(value, list):
        at = chance.randrange(len(value))
        return [*value[:at], damage_value(value[at], chance), *value[at + 1:]]
    name, how = chance.choice(list(value)), chance.random()
    if how < 0.2:
        return {key: one for key, one in value.items() if key != name}
    if how < 0.3:
        return {("x" if key == name else key): one for key, one in value.items()}
    return {**value, name: damage_value(value[name], chance)}


def damaged_json(value: Any, chance: Chance) -> bytes:
    """A JSON file that is damaged as a text or as a value."""
    how = chance.random()
    if how < 0.05:
        return b"[" * 100_000 if how < 0.025 else b'{"a":' * 100_000
    if how < 0.3:
        return damage_bytes(json.dumps(value).encode(), chance)
    return json.dumps(damage_value(value, chance)).encode()


def damaged_csv(rows: Sequence[Sequence[str]], chance: Chance) -> bytes:
    """A CSV file in which cells, columns, lines or bytes are wrong."""
    rows = [list(row) for row in rows]
    row = chance.choice(rows)
    for _ in range(chance.randrange(3)):
        row[chance.randrange(len(row))] = chance.choice([*WORDS, '"', '""x', "x" * 200_000])
    if chance.random() < 0.2:
        row.pop()
    if chance.random() < 0.2:
        row.append("x")
    text = "\n".join(",".join(row) for row in rows[:chance.randrange(len(rows) + 1)]).encode() + b"\n"
    return damage_bytes(text, chance) if chance.random() < 0.3 else text


# ---- images ----------------------------------------------------------------------------------------------------------


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """A PNG whose header says whatever it is told to, with correct checksums."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def whole_images() -> list[tuple[str, bytes]]:
    """(ending, bytes) of images of all kinds."""
    colour = Image.effect_noise((40, 30), 50).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    deep = Image.fromarray(torch.arange(1200).view(30, 40).mul(50).to(torch.int32).numpy().astype("uint16"))
    frames = [colour.convert("P"), colour.rotate(90).convert("P")]
    return [
        ("png", encoded(colour, "PNG")), ("png", encoded(colour.convert("L"), "PNG")), ("png", encoded(deep, "PNG")),
        ("tif", encoded(deep, "TIFF")), ("png", encoded(colour.convert("LA"), "PNG")),
        ("png", encoded(colour.convert("RGBA"), "PNG")), ("png", encoded(colour.convert("1"), "PNG")),
        ("png", encoded(colour.convert("P"), "PNG")), ("jpg", encoded(colour, "JPEG", exif=exif)),
        ("jpg", encoded(colour.convert("CMYK"), "JPEG")), ("tif", encoded(colour.convert("CMYK"), "TIFF")),
        ("tif", encoded(colour.convert("F"), "TIFF")), ("tif", encoded(colour.convert("I"), "TIFF")),
        ("bmp", encoded(colour, "BMP")), ("png", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])),
        ("tif", encoded(colour, "TIFF", save_all=True, append_images=[colour], compression="tiff_lzw")),
        ("png", encoded(Image.new("L", (1, 1)), "PNG")), ("png", encoded(Image.new("RGB", (20_000, 2)), "PNG")),
        ("png", encoded(Image.new("L", (1, 20_000)), "PNG")), ("jpg", encoded(Image.new("L", (1, 1)), "JPEG")),
        ("png", encoded(colour, "PNG", save_all=True, append_images=[colour]))]
