"""How work on many files or months is spread: in turn, or over the workers of a flow."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class RunAll(Protocol):
    """Applies a function to items, on whatever workers there are, and returns results in order."""

    def __call__(  # noqa: D102
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        *,
        stage: str,
        weight: Callable[[Any], float],
    ) -> list[Any]: ...


def in_turn(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    stage: str,
    weight: Callable[[Any], float],
) -> list[Any]:
    """Apply a function to one item after the other, in this process."""
    return [function(item) for item in items]
