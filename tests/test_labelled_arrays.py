"""Laws of labelled arrays: what is in the file is what comes back, or an error says why not."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.labelled_arrays import LabelledArrays, load_labelled_arrays


def save(folder: Path, **arrays: Any) -> Path:
    """Write a file of three good arrays, `arrays` in their place; None leaves one out."""
    good = {"train": np.zeros((9, 2)), "test": np.ones((5, 2)), "labels": np.array([0, 0, 1, 1, 0])}
    path = folder / "pump.npz"
    np.savez(path, **{key: value for key, value in (good | arrays).items() if value is not None})
    return path


def load(folder: Path, **arrays: Any) -> LabelledArrays:
    return load_labelled_arrays(save(folder, **arrays))


@given(seed=st.integers(0, 2**32 - 1), ndim=st.integers(1, 3), compressed=st.booleans())
def test_arrays_come_back_as_cubes_of_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, seed: int, ndim: int, compressed: bool
) -> None:
    generator = np.random.default_rng(seed)
    n_entities, n_features = (3 if ndim == 3 else 1), (1 if ndim == 1 else 4)
    train, test = (
        generator.normal(size=(n_entities, steps, n_features)).astype(np.float32)
        for steps in (7, 5)
    )
    labels = generator.random((n_entities, 5)) < 0.4
    shape = {1: lambda a: a[0, :, 0], 2: lambda a: a[0], 3: lambda a: a}[ndim]
    path = tmp_path_factory.mktemp("arrays") / "pump.npz"
    write = np.savez_compressed if compressed else np.savez
    write(path, train=shape(train), test=shape(test), labels=labels if ndim == 3 else labels[0])
    arrays = load_labelled_arrays(path)
    for got, wanted in ((arrays.train, train), (arrays.test, test), (arrays.labels, labels)):
        assert got.dtype == wanted.dtype
        assert np.array_equal(got, wanted)
    assert arrays.train_observed.shape == (n_entities, 7)
    assert arrays.train_observed.all()
    assert arrays.test_observed.shape == (n_entities, 5)
    assert arrays.test_observed.all()


@pytest.mark.parametrize("train", ["train", "X_train", "x_train"])
@pytest.mark.parametrize("test", ["test", "X_test", "x_test"])
@pytest.mark.parametrize("labels", ["labels", "label", "y_test", "test_labels"])
def test_usual_spellings_are_the_same(tmp_path: Path, train: str, test: str, labels: str) -> None:
    plain = load(tmp_path)
    none = dict.fromkeys(("train", "test", "labels"))
    spelt = load(
        tmp_path,
        **none | {train: plain.train[0], test: plain.test[0], labels: plain.labels[0]},
        y_train=np.zeros(9),
    )
    assert np.array_equal(spelt.train, plain.train)
    assert np.array_equal(spelt.test, plain.test)
    assert np.array_equal(spelt.labels, plain.labels)


def test_a_step_that_lacks_a_value_is_not_observed_and_holds_zeros(tmp_path: Path) -> None:
    test = np.arange(1.0, 11.0).reshape(5, 2)
    test[1, 0] = test[3] = np.nan
    arrays = load(tmp_path, test=test)
    assert arrays.test_observed.tolist() == [[True, False, True, False, True]]
    assert arrays.test[0].tolist() == [[1, 2], [0, 0], [5, 6], [0, 0], [9, 10]]
    assert arrays.train_observed.all()


def test_labels_by_value_mark_a_step_if_any_value_is_anomalous(tmp_path: Path) -> None:
    by_value = np.array([[0, 0], [0, 1], [1, 1], [0, 0], [1, 0]])
    wanted = [[False, True, True, False, True]]
    assert load(tmp_path, labels=by_value).labels.tolist() == wanted
    assert load(tmp_path, labels=by_value.any(axis=1)[:, None]).labels.tolist() == wanted
    several = {"train": np.zeros((2, 9, 2)), "test": np.ones((2, 5, 2))}
    labels = np.stack([by_value, 1 - by_value])
    assert load(tmp_path, **several, labels=labels).labels.tolist() == [
        *wanted,
        [True, True, False, True, True],
    ]


def test_one_series_of_three_axes_takes_labels_of_one(tmp_path: Path) -> None:
    arrays = load(tmp_path, train=np.zeros((1, 9, 2)), test=np.ones((1, 5, 2)))
    assert arrays.labels.tolist() == [[False, False, True, True, False]]


def test_names_come_from_the_file_or_are_numbered(tmp_path: Path) -> None:
    several = {"train": np.zeros((2, 9, 3)), "test": np.ones((2, 5, 3)), "labels": np.eye(2, 5)}
    arrays = load(tmp_path, **several)
    assert arrays.entities == ("pump_0", "pump_1")
    assert arrays.features == ("feature_0", "feature_1", "feature_2")
    named = load(tmp_path, **several, entities=["a", "b"], feature_names=["x", "y", "z"])
    assert (named.entities, named.features) == (("a", "b"), ("x", "y", "z"))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    with pytest.raises(ValueError, match=r"test can't be read .* never unpickled"):
        load(tmp_path, test=np.array([Trap()] * 5, dtype=object))
    assert not (tmp_path / "sprung").exists()


def test_other_arrays_of_the_file_are_not_looked_at(tmp_path: Path) -> None:
    assert load(tmp_path, notes=np.array([{}], dtype=object)).labels.sum() == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": None}, "holds no labels: found test, train; expected one of labels, label"),
        ({"X_train": np.zeros((9, 2))}, "holds train under several names, train, X_train"),
        ({"train": np.zeros((9, 3))}, r"shapes \(9, 3\) and \(5, 2\)"),
        ({"train": np.zeros(9), "test": np.zeros((5, 1))}, r"shapes \(9,\) and \(5, 1\)"),
        ({"train": np.zeros((1, 9, 2))}, r"shapes \(1, 9, 2\) and \(5, 2\)"),
        ({"test": np.zeros((2, 5, 2, 1))}, r"test is float64 of shape \(2, 5, 2, 1\): expected"),
        ({"test": np.zeros((0, 2))}, r"test is float64 of shape \(0, 2\)"),
        ({"test": np.full((5, 2), "a")}, r"test is <U1 of shape"),
        ({"test": np.full((5, 2), 1j)}, r"test is complex128 of shape"),
        ({"test": np.full((5, 2), np.inf)}, "10 values that are infinite as float32, the first in"),
        ({"test": np.full((5, 2), 1e300)}, "infinite as float32"),
        ({"test": np.full((5, 2), np.nan)}, "no step of test is observed.* 2 of 2 features"),
        (
            {"labels": np.zeros(4)},
            r"shape \(4,\) and test \(5, 2\): expected .* \(5,\) or \(5, 2\)",
        ),
        ({"labels": np.zeros((1, 5))}, r"labels have shape \(1, 5\)"),
        ({"labels": np.arange(5)}, r"labels are int64 with values such as \[0, 1, 2, 3, 4\]"),
        ({"labels": np.array([0, 1, np.nan, 0, 0])}, "labels are float64 with values such as"),
        ({"labels": np.array(list("01010"))}, "labels are <U1 with values such as"),
        ({"features": ["a"]}, r"features is <U1 of shape \(1,\): expected text of shape \(2,\)"),
        ({"features": ["a", "a"]}, "each once"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **arrays)


def test_files_that_are_no_npz_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_labelled_arrays(tmp_path / "absent.npz")
    np.save(tmp_path / "one.npy", np.zeros(5))
    (tmp_path / "empty.npz").touch()
    for name in ("one.npy", "empty.npz"):
        with pytest.raises(ValueError, match=r"is no \.npz file"):
            load_labelled_arrays(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        for key in ("train", "test", "labels"):
            archive.writestr(f"{key}.npy", "0,1,0")
    with pytest.raises(ValueError, match="train is no array in numpy's format"):
        load_labelled_arrays(tmp_path / "text.npz")


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    arrays = {"train": np.arange(900.0), "test": np.arange(5.0), "labels": np.zeros(5)}
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    content[content.index(np.float64(500).tobytes())] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="train can't be read"):
        load_labelled_arrays(path)
    np.savez_compressed(path, **arrays)
    content = bytearray(path.read_bytes())
    header = 30 + len("train.npy") + int.from_bytes(content[28:30], "little")
    content[header] ^= 0x06  # the kind of the first compressed block
    path.write_bytes(content)
    with pytest.raises(ValueError, match="train can't be read"):
        load_labelled_arrays(path)
