"""What events a publication was made of."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from flows.lake import Lake
from flows.proportions import StepBounds

STATE: Final = "state.json"


@dataclass(frozen=True, kw_only=True)
class PublishedState:
    """What events a publication was made of: a digest a day, and the bounds of its steps."""

    days: dict[date, str]
    bounds: StepBounds

    @classmethod
    def read(cls, folder: Path) -> "PublishedState":
        """Read what `write_state` wrote."""
        content = json.loads((folder / STATE).read_text())
        first, last = (date.fromisoformat(content[name]) for name in ("first", "last"))
        days = {date.fromisoformat(day): digest for day, digest in content["days"].items()}
        return cls(days=days, bounds=StepBounds(first=first, last=last))


def days_of(lake: Lake) -> dict[date, str]:
    """Return the digest of every day that has events."""
    return {day: record.digest for day, record in lake.days.items()}


def write_state(folder: Path, lake: Lake, bounds: StepBounds) -> None:
    """Write what events a publication is made of."""
    content = {
        "first": str(bounds.first),
        "last": str(bounds.last),
        "days": {str(day): digest for day, digest in days_of(lake).items()},
    }
    path = folder / STATE
    path.unlink(missing_ok=True)  # it may be a link to the file of the version before
    path.write_text(json.dumps(content))
