"""Labelled series from ``.npz`` files: train, test, and which steps of test are anomalous."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SPELLINGS: Final = {
    "train": ("train", "X_train", "x_train", "train_data"),
    "test": ("test", "X_test", "x_test", "test_data"),
    "labels": ("labels", "label", "y_test", "test_labels", "test_label"),
    "entities": ("entities", "entity_names"),
    "features": ("features", "feature_names", "columns"),
}
_REQUIRED: Final = ("train", "test", "labels")


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledArrays:
    """Series to learn from, series to find anomalies in, and where these are.

    Attributes
    ----------
    train
        float32 ``(E, S1, F)``, finite: 0 in steps that are not observed.
    test
        float32 ``(E, S2, F)``, likewise.
    labels
        bool ``(E, S2)``: the anomalous steps of `test`.
    train_observed
        bool ``(E, S1)``: the steps in which no value is missing.
    test_observed
        bool ``(E, S2)``, likewise.
    entities
        Names, as many as E.
    features
        Names, as many as F.
    """

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    labels: NDArray[np.bool_]
    train_observed: NDArray[np.bool_]
    test_observed: NDArray[np.bool_]
    entities: tuple[str, ...]
    features: tuple[str, ...]


def load_labelled_arrays(path: Path) -> LabelledArrays:
    """Read a ``.npz`` file of labelled series; nothing in it is ever unpickled.

    The file holds three arrays. Usual spellings such as ``X_train``, ``x_test``, ``y_test``,
    ``test_labels`` and ``label`` are taken as well; arrays of any other name are left alone.

    - ``train`` and ``test``: ``(S,)``, ``(S, F)`` or, for several series, ``(E, S, F)``, both
      alike, numbers; they may differ in S. NaN is a value that is missing, and a step with one
      is not observed. Values become float32.
    - ``labels``: 0 or 1 by step of test, ``(S,)`` or, for several series, ``(E, S)``; or by value,
      of the shape of test or with 1 for F: a step is then anomalous if any of its values is.

    Names may be given by ``entities`` (E of them) and ``features`` (F); by default they are the
    file's name and numbers.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    LabelledArrays

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no ``.npz`` file, an array is absent, there under two names or would have
        to be unpickled, a shape doesn't fit, a value is infinite or no number, a label is neither
        0 nor 1, or nothing in `train` or `test` is observed.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "pump.npz"
    >>> np.savez(path, X_train=np.zeros((9, 2)), X_test=np.ones((5, 2)), y_test=[0, 0, 1, 1, 0])
    >>> arrays = load_labelled_arrays(path)
    >>> arrays.train.shape, arrays.test.shape, arrays.labels.astype(int).tolist()
    ((1, 9, 2), (1, 5, 2), [[0, 0, 1, 1, 0]])
    >>> arrays.entities, arrays.features
    (('pump',), ('feature_0', 'feature_1'))
    """
    found = _read(path)
    train, train_observed = _as_cube(found["train"], "train", path)
    test, test_observed = _as_cube(found["test"], "test", path)
    given = {name: found[name].shape for name in _REQUIRED}
    alike = found["train"].ndim == found["test"].ndim and train.shape[::2] == test.shape[::2]
    if not alike:
        msg = (
            f"{path}: train and test have shapes {given['train']} and {given['test']}: expected "
            "them to differ in the number of steps alone, each (S,), (S, F) or (E, S, F)"
        )
        raise ValueError(msg)
    n_entities, _, n_features = test.shape
    stem = (path.stem,) if n_entities == 1 else _numbered(path.stem, n_entities)
    return LabelledArrays(
        train=train,
        test=test,
        labels=_as_labels(found["labels"], found["test"].shape, test.shape, path),
        train_observed=train_observed,
        test_observed=test_observed,
        entities=_names(found, "entities", stem, path),
        features=_names(found, "features", _numbered("feature", n_features), path),
    )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays by the first of their spellings."""
    if not path.is_file():
        msg = f"{path}: no such file; expected a .npz file with {', '.join(_REQUIRED)}"
        raise FileNotFoundError(msg)
    if not zipfile.is_zipfile(path):
        msg = f"{path} is no .npz file: expected what numpy.savez writes, with names for arrays"
        raise ValueError(msg)
    with np.load(path, allow_pickle=False) as archive:
        keys = _keys(archive.files, path)
        return {name: _array(archive, key, path) for name, key in keys.items()}


def _keys(files: list[str], path: Path) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, spellings in _SPELLINGS.items():
        here = [spelling for spelling in spellings if spelling in files]
        if len(here) > 1:
            msg = f"{path} holds {name} under several names, {', '.join(here)}: keep one of them"
            raise ValueError(msg)
        if not here and name in _REQUIRED:
            msg = (
                f"{path} holds no {name}: found {', '.join(sorted(files)) or 'no arrays'}; "
                f"expected one of {', '.join(spellings)}"
            )
            raise ValueError(msg)
        if here:
            keys[name] = here[0]
    return keys


def _array(archive: Mapping[str, NDArray[Any]], key: str, path: Path) -> NDArray[Any]:
    try:
        array = archive[key]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        msg = (
            f"{path}: {key} can't be read ({error}); objects are never unpickled: save it as an "
            "array of numbers, or of text for names"
        )
        raise ValueError(msg) from error
    if not isinstance(array, np.ndarray):
        msg = f"{path}: {key} is no array in numpy's format; write the file by numpy.savez"
        raise ValueError(msg)
    return array


def _as_cube(
    values: NDArray[Any], name: str, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the values ``(E, S, F)``, 0 where not observed, and what is observed ``(E, S)``."""
    if values.dtype.kind not in "biuf" or not 1 <= values.ndim <= 3 or 0 in values.shape:
        msg = (
            f"{path}: {name} is {values.dtype} of shape {values.shape}: expected numbers of shape "
            "(S,), (S, F) or (E, S, F), none of them 0"
        )
        raise ValueError(msg)
    with np.errstate(over="ignore"):
        cube = values.reshape(_cube_shape(values.shape)).astype(np.float32)
    infinite = np.isinf(cube)
    if infinite.any():
        entity, step, feature = np.argwhere(infinite)[0]
        msg = (
            f"{path}: {name} holds {int(infinite.sum())} values that are infinite as float32, the "
            f"first in series {entity}, step {step}, feature {feature}; mark missing values as NaN"
        )
        raise ValueError(msg)
    observed: NDArray[np.bool_] = np.logical_not(np.isnan(cube).any(axis=2))
    if not observed.any():
        msg = (
            f"{path}: no step of {name} is observed, as each lacks a value; leave out features "
            f"that are always NaN, or fill gaps: {np.isnan(cube).all(axis=(0, 1)).sum()} of "
            f"{cube.shape[2]} features are NaN throughout"
        )
        raise ValueError(msg)
    cube[~observed] = 0
    return cube, observed


def _cube_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, shape[0], shape[1] if len(shape) == 2 else 1


def _as_labels(
    labels: NDArray[Any], test: tuple[int, ...], cube: tuple[int, ...], path: Path
) -> NDArray[np.bool_]:
    """Return the labels ``(E, S)`` of a test of the shapes as given and as a cube."""
    steps = cube[:2]
    by_step = [steps] if len(test) == 3 else [steps[1:]]
    if len(test) == 3 and steps[0] == 1:
        by_step.append(steps[1:])
    by_value = [test, (*test[:-1], 1)] if len(test) > 1 else [(*test, 1)]
    if labels.shape not in by_step + by_value:
        msg = (
            f"{path}: labels have shape {labels.shape} and test {test}: expected labels of shape "
            f"{' or '.join(map(str, dict.fromkeys(by_step + by_value)))}"
        )
        raise ValueError(msg)
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        values = np.unique(labels)[:5].tolist()
        msg = (
            f"{path}: labels are {labels.dtype} with values such as {values}: expected 0 or 1 for "
            "every step"
        )
        raise ValueError(msg)
    anomalous: NDArray[np.bool_] = (labels.reshape(*steps, -1) == 1).any(axis=2)
    return anomalous


def _names(
    found: Mapping[str, NDArray[Any]], name: str, default: tuple[str, ...], path: Path
) -> tuple[str, ...]:
    if name not in found:
        return default
    names = found[name]
    if names.dtype.kind != "U" or names.shape != (len(default),) or len(set(names)) < len(names):
        msg = (
            f"{path}: {name} is {names.dtype} of shape {names.shape}: expected text of shape "
            f"({len(default)},), each once"
        )
        raise ValueError(msg)
    return tuple(names.tolist())


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem}_{number}" for number in range(count))
