"""A driver of a score in words."""

from collections.abc import Mapping
from typing import Any


def in_words(driver: Mapping[str, Any]) -> str:
    """Say how many events of a kind there are, and how many were expected.

    Examples
    --------
    >>> fight = {"label": "Use conventional military force", "events": 41, "expected_events": 4.6}
    >>> in_words(fight)
    'Use conventional military force: 41 events, 4.6 expected'
    """
    plural = "" if driver["events"] == 1 else "s"
    return (
        f"{driver['label']}: {driver['events']:,} event{plural}, "
        f"{driver['expected_events']:.1f} expected"
    )
