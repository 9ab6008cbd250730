"""Errors that name what was got, what was expected and how to mend it."""

__all__ = ["CheckpointError", "NonFiniteLossError", "ShapeError"]


class ShapeError(ValueError):
    """An array's shape or type is not the one that the contract asks for."""


class NonFiniteLossError(ArithmeticError):
    """Training reached a loss that is infinite or not a number."""


class CheckpointError(ValueError):
    """A folder is not a whole checkpoint of a format that this version reads."""
