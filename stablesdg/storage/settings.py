"""Were two results made with the same settings? One question, asked wherever work goes on from what is on disk."""
import json
from collections.abc import Mapping
from typing import Any

from .errors import UserError

LONGEST_VALUE = 40  # characters; a longer value is named, but not shown


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they come back from a JSON file: tuples are lists, keys are strings."""
    return json.loads(json.dumps(settings))


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name each setting of `now` that differs, with both values: ["lr was 0.1 and is 0.2", "images", ..]."""
    changed = []
    for name, value in as_json(now).items():
        if (old := before.get(name)) != value:
            short = max(len(str(old)), len(str(value))) <= LONGEST_VALUE
            changed.append(f"{name} was {old} and is {value}" if short else name)
    return changed


def require_same_settings(where: object, before: Mapping[str, Any], now: Mapping[str, Any], advice: str) -> None:
    """Raise UserError if the settings differ. `advice` says what the user can do."""
    if changed := changed_settings(before, now):
        raise UserError(f"{where} was made with other settings ({'; '.join(changed)}): {advice}.")
