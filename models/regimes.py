"""Clusters of embeddings that keep their numbers from one fit to the next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin, silhouette_score

from models.errors import ShapeError

__all__ = ["MIN_OVERLAP", "Regimes"]

MIN_OVERLAP = 0.25
"""Share of the windows in either of an old and a new regime that must be in both to be one."""

_N_INIT = 10
_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Regimes:
    """Kinds of windows: k-means clusters of standardised embeddings, by number.

    Without a predecessor the most common regime is 0, the next 1 and so on. With one, a regime
    has the number of the old one that it is most like, and a new regime a number that none has
    had before. Neither the seed nor the order of the rows has a say in numbers,
    as far as the clusters are the same; with equal rows and seed, in any order, they are.

    Attributes
    ----------
    numbers
        int32 `(R,)`, ascending; gaps are regimes that are no more.
    centres
        float64 `(R, L)`, in standardised embeddings.
    n_windows
        int64 `(R,)`: how many windows of the fit each has.
    mean, deviation
        float64 `(L,)`: by which embeddings are standardised.
    next_number
        The first that no regime has had yet.
    silhouettes
        Mean silhouette by number of regimes, of those that were compared; -1 is worst, 1 best.
    """

    numbers: NDArray[np.int32]
    centres: NDArray[np.float64]
    n_windows: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    next_number: int
    silhouettes: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        embeddings: NDArray[np.float32],
        *,
        n_regimes: int | Iterable[int] = range(2, 11),
        seed: int = 0,
        sample_size: int = 5000,
        previous: "Regimes | None" = None,
        previous_numbers: NDArray[np.int32] | None = None,
    ) -> "Regimes":
        """Cluster embeddings.

        Parameters
        ----------
        embeddings
            float32 `(N, L)`, finite.
        n_regimes
            How many, or the choices, of which the one with the best mean silhouette (Rousseeuw,
            1987) is taken.
        seed
            Of the initial centres and of the sample.
        sample_size
            At most so many windows are used to choose the number of regimes.
        previous
            The regimes that these replace.
        previous_numbers
            int32 `(N,)`: the old regime of each window, -1 where it has none. An old and a new
            regime are then matched by the windows that they share, and must share `MIN_OVERLAP`
            of them. If None they are matched by their centres, of which the new one must lie
            within half of the old one's distance from the next; that only makes sense for
            embeddings of the same model.

        Returns
        -------
        Regimes

        Raises
        ------
        ShapeError
            If a shape or dtype is wrong.
        ValueError
            If an embedding is not finite, there are no more different windows than regimes, the
            sample has no more, there is no choice, or old numbers are given without the regimes
            that they are of.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> kinds = np.array([0] * 20 + [5] * 50 + [9] * 30)[:, None]
        >>> embeddings = (kinds + rng.normal(scale=0.1, size=(100, 2))).astype(np.float32)
        >>> regimes = Regimes.fit(embeddings, n_regimes=[2, 3, 4])
        >>> regimes.n_windows.tolist(), regimes.assign(embeddings)[[0, 20, 70]].tolist()
        ([50, 30, 20], [2, 0, 1])
        """
        _validate_embeddings(embeddings)
        choices = sorted({n_regimes} if isinstance(n_regimes, int) else set(n_regimes))
        _validate_choices(choices, embeddings, sample_size)
        _validate_previous(embeddings, previous, previous_numbers)
        # K-means starts from rows drawn by position; sorted, their order has no say.
        order = np.lexsort(embeddings.T[::-1])
        values, mean, deviation = _standardise(embeddings[order])
        silhouettes = _silhouettes(values, choices, sample_size, seed)
        best = max(choices, key=lambda n: silhouettes.get(n, 0))
        centres, labels = _common_first(KMeans(best, n_init=_N_INIT, random_state=seed).fit(values))
        numbers = np.arange(best)
        if previous is not None and previous_numbers is None:
            likeness = _likeness_of_centres(centres * deviation + mean, previous)
            numbers = _match(likeness, previous)
        elif previous is not None and previous_numbers is not None:
            likeness = _overlap(labels, previous_numbers[order], best, previous)
            numbers = _match(likeness, previous)
        ascending = np.argsort(numbers)
        return cls(
            numbers=numbers[ascending].astype(np.int32),
            centres=centres[ascending],
            n_windows=np.bincount(labels, minlength=best)[ascending].astype(np.int64),
            mean=mean,
            deviation=deviation,
            next_number=max(
                int(numbers.max()) + 1, 0 if previous is None else previous.next_number
            ),
            silhouettes=silhouettes,
        )

    def assign(self, embeddings: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return the number of the regime with the nearest centre, int32 `(N,)`.

        Raises
        ------
        ShapeError
            If the shape or dtype is wrong.
        ValueError
            If an embedding is not finite.
        """
        _validate_embeddings(embeddings, n_dimensions=self.centres.shape[1])
        if not len(embeddings):
            return np.zeros(0, np.int32)
        values = (embeddings.astype(np.float64) - self.mean) / self.deviation
        numbers: NDArray[np.int32] = self.numbers[pairwise_distances_argmin(values, self.centres)]
        return numbers

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds; `from_dict` is its exact inverse."""
        return {
            "format_version": _FORMAT_VERSION,
            "numbers": self.numbers.tolist(),
            "centres": self.centres.tolist(),
            "n_windows": self.n_windows.tolist(),
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "next_number": self.next_number,
            "silhouettes": {str(n): value for n, value in self.silhouettes.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Regimes":
        """Rebuild what `to_dict` returned.

        Raises
        ------
        ValueError
            If the format version is another, or keys are unknown or missing.

        Examples
        --------
        >>> embeddings = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
        >>> regimes = Regimes.fit(embeddings, n_regimes=4)
        >>> again = Regimes.from_dict(regimes.to_dict())
        >>> bool((again.assign(embeddings) == regimes.assign(embeddings)).all())
        True
        """
        dtypes = {
            "numbers": np.int32,
            "centres": np.float64,
            "n_windows": np.int64,
            "mean": np.float64,
            "deviation": np.float64,
        }
        expected = {"format_version", "next_number", "silhouettes", *dtypes}
        if values.get("format_version") != _FORMAT_VERSION or set(values) != expected:
            raise ValueError(
                f"the regimes have format version {values.get('format_version')!r} and keys "
                f"{sorted(values)}; expected version {_FORMAT_VERSION} and {sorted(expected)}. "
                "Fit them again"
            )
        return cls(
            **{name: np.array(values[name], dtype) for name, dtype in dtypes.items()},
            next_number=values["next_number"],
            silhouettes={int(n): value for n, value in values["silhouettes"].items()},
        )


def _standardise(
    embeddings: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return standardised embeddings, and the mean and deviation of each dimension."""
    values = embeddings.astype(np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    # The deviation of equal values is the rounding of their mean.
    deviation[deviation <= 1e-12 * np.abs(values).max(axis=0)] = 1
    return (values - mean) / deviation, mean, deviation


def _common_first(clusters: KMeans) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return centres and labels with the most common cluster first, ties by their centres."""
    centres, counts = clusters.cluster_centers_, np.bincount(clusters.labels_)
    order = np.lexsort((*centres.T[::-1].round(6), -counts))
    return centres[order], np.argsort(order)[clusters.labels_]


def _silhouettes(
    values: NDArray[np.float64], choices: list[int], sample_size: int, seed: int
) -> dict[int, float]:
    """Return the mean silhouette of each number of clusters, on one sample for all."""
    if len(choices) == 1:
        return {}
    values = np.unique(values, axis=0)
    rows = np.random.default_rng(seed).permutation(len(values))[:sample_size]
    sample, found = values[np.sort(rows)], {}
    for n in choices:
        labels = KMeans(n, n_init=_N_INIT, random_state=seed).fit_predict(sample)
        found[n] = float(silhouette_score(sample, labels))
    return found


def _likeness_of_centres(centres: NDArray[np.float64], previous: Regimes) -> NDArray[np.float64]:
    """Return 1 where an old centre `(R', L)` is met, falling to 0 at half of the way to others."""
    old = previous.centres
    reach = np.full(len(old), np.inf)
    if len(old) > 1:
        reach = np.sort(pairwise_distances(old), axis=1)[:, 1] / 2
    distance = pairwise_distances((centres - previous.mean) / previous.deviation, old)
    likeness: NDArray[np.float64] = np.maximum(1 - distance / reach, 0)
    return likeness


def _overlap(
    labels: NDArray[np.int64], old: NDArray[np.int32], n_regimes: int, previous: Regimes
) -> NDArray[np.float64]:
    """Return the share of the windows in either of a new and an old regime that are in both."""
    both = np.zeros((n_regimes, previous.next_number))
    np.add.at(both, (labels[old >= 0], old[old >= 0]), 1)
    either = both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both
    overlap: NDArray[np.float64] = (both / np.maximum(either, 1))[:, previous.numbers]
    return np.where(overlap < MIN_OVERLAP, 0, overlap)


def _match(likeness: NDArray[np.float64], previous: Regimes) -> NDArray[np.int64]:
    """Return the number of each new regime: an old one's that is like it, or a new one."""
    numbers = np.full(len(likeness), -1)
    regimes, columns = linear_sum_assignment(likeness, maximize=True)
    is_like = likeness[regimes, columns] > 0
    numbers[regimes[is_like]] = previous.numbers[columns[is_like]]
    is_new = numbers < 0
    numbers[is_new] = previous.next_number + np.arange(np.count_nonzero(is_new))
    return numbers


def _validate_previous(
    embeddings: NDArray[np.float32],
    previous: Regimes | None,
    previous_numbers: NDArray[np.int32] | None,
) -> None:
    if previous is None:
        if previous_numbers is not None:
            raise ValueError("previous_numbers needs previous, the regimes that they are of")
        return
    if previous.centres.shape[1] != embeddings.shape[1] and previous_numbers is None:
        raise ShapeError(
            f"embeddings has shape {embeddings.shape} and previous is of "
            f"{previous.centres.shape[1]} dimensions; give previous_numbers to match "
            "regimes by the windows that they share"
        )
    if previous_numbers is None:
        return
    if previous_numbers.shape != embeddings.shape[:1] or previous_numbers.dtype != np.int32:
        raise ShapeError(
            f"previous_numbers is {previous_numbers.dtype} of shape {previous_numbers.shape}; "
            f"expected int32 of shape ({len(embeddings)},), a number a window, -1 for none"
        )
    if previous_numbers.max(initial=-1) >= previous.next_number:
        raise ValueError(
            f"previous_numbers reaches to {previous_numbers.max()}, but previous has given only "
            f"numbers below {previous.next_number}; give the regimes that the numbers are of"
        )


def _validate_embeddings(
    embeddings: NDArray[np.float32], *, n_dimensions: int | None = None
) -> None:
    fits = embeddings.ndim == 2 and n_dimensions in {None, embeddings.shape[-1]}
    if not fits or embeddings.dtype != np.float32:
        wanted = "L" if n_dimensions is None else n_dimensions
        raise ShapeError(
            f"embeddings is {embeddings.dtype} of shape {embeddings.shape}; expected float32 of "
            f"shape (N, {wanted})"
        )
    if not np.isfinite(embeddings).all():
        row = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
        raise ValueError(f"embeddings[{row}] is not finite; leave out windows without an embedding")


def _validate_choices(
    choices: list[int], embeddings: NDArray[np.float32], sample_size: int
) -> None:
    if not choices or choices[0] < 1 or (len(choices) > 1 and choices[0] < 2):
        raise ValueError(
            f"n_regimes is {choices}; give a number of at least 1, or choices of at least 2 each"
        )
    n_distinct = len(np.unique(embeddings, axis=0))
    if n_distinct <= choices[-1]:
        raise ValueError(
            f"there are {n_distinct} different windows for {choices[-1]} regimes; there must be "
            "more. Give more windows, or a smaller n_regimes"
        )
    if sample_size <= choices[-1]:
        raise ValueError(
            f"sample_size is {sample_size} for {choices[-1]} regimes; it must be larger"
        )
