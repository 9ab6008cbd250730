"""For each window the windows most like it, of other entities and of earlier times."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError

__all__ = ["Analogues", "nearest_analogues"]

_MAX_POOL = 256  # candidates of a window that are looked at closely, unless more are asked for
_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class Analogues:
    """The nearest windows of each window that was asked about, the nearest first.

    Attributes
    ----------
    positions
        int64 `(Q, K)`: rows of the windows searched; -1 where there are fewer than K.
    distances
        float32 `(Q, K)`: Euclidean, in standardised embeddings; NaN where there are fewer.
    """

    positions: NDArray[np.int64]
    distances: NDArray[np.float32]


def nearest_analogues(
    embeddings: NDArray[np.float32],
    windows: NDArray[np.int64],
    *,
    length: int,
    n_neighbours: int = 5,
    training: NDArray[np.bool_] | None = None,
    queries: NDArray[np.int64] | None = None,
    min_lag: int | None = 0,
    same_entity: bool = True,
    block_bytes: int = 2**26,
) -> Analogues:
    """Find the nearest windows that a reader could have known, each event once.

    Candidates are the windows that start no later than the window itself, of any entity, except
    those of its own entity that overlap it. Of windows of one entity that overlap each other only
    the nearest is returned: five neighbours would otherwise be five shifts of one event.

    Distances come from blocks of float32 matrix products. Candidates among which the rounding
    could matter are compared by differences in float64, so that the result is exact, and the same
    for all block sizes and numbers of threads.

    Parameters
    ----------
    embeddings
        float32 `(N, L)`, finite.
    windows
        int64 `(N, 2)`: rows (entity, start), none twice.
    length
        T, the steps of a window.
    n_neighbours
        K, at least 1.
    training
        bool `(N,)`: the windows by whose mean and deviation each dimension is standardised; all
        if None. A dimension that doesn't vary among them is only centred.
    queries
        int64 `(Q,)`: the rows to find analogues of, such as tonight's; all if None.
    min_lag
        Steps by which an analogue must start earlier: 0 allows the same start, T demands that it
        is over when the window starts, None allows later windows as well.
    same_entity
        Whether earlier windows of the same entity are candidates.
    block_bytes
        Memory of one block of distances; about four times as much is used in all.

    Returns
    -------
    Analogues
        The same distance is ordered by row.

    Raises
    ------
    ShapeError
        If a shape or dtype is wrong.
    ValueError
        If an embedding is not finite, a window is listed twice, or a number is out of its range.

    Examples
    --------
    >>> embeddings = np.float32([[0], [1], [5], [1.2]])
    >>> windows = np.array([[0, 0], [1, 0], [1, 1], [2, 6]])
    >>> found = nearest_analogues(embeddings, windows, length=4, n_neighbours=2)
    >>> found.positions.tolist()
    [[1, -1], [0, -1], [0, -1], [1, 0]]
    """
    _validate(embeddings, windows, training, queries)
    _validate_numbers(length, n_neighbours, min_lag, block_bytes)
    rows = np.arange(len(windows)) if queries is None else queries
    found = Analogues(
        positions=np.full((len(rows), n_neighbours), -1, np.int64),
        distances=np.full((len(rows), n_neighbours), np.nan, np.float32),
    )
    if len(rows):
        search = _Search(
            _standardise(embeddings, training), windows, length, n_neighbours, min_lag, same_entity
        )
        for some in search.blocks(rows, block_bytes):
            found.positions[some], found.distances[some] = search.nearest(rows[some])
    return found


class _Search:
    """The windows in order of their starts, so that those of earlier times come first.

    Places are positions in that order; -1 is none.
    """

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        windows: NDArray[np.int64],
        length: int,
        n_neighbours: int,
        min_lag: int | None,
        same_entity: bool,  # noqa: FBT001
    ) -> None:
        self._order = np.lexsort((np.arange(len(windows)), windows[:, 1]))
        self._place = np.argsort(self._order)
        self._embeddings = embeddings[self._order]
        self._squares = np.einsum("nl,nl->n", self._embeddings, self._embeddings)
        self._entity, self._start = windows[self._order].T.copy()
        self._length, self._k, self._same_entity = length, n_neighbours, same_entity
        if min_lag is None:
            self._n_candidates = np.full(len(windows), len(windows))
        else:
            self._n_candidates = np.searchsorted(self._start, self._start - min_lag, side="right")
        by_entity = np.argsort(self._entity, kind="stable")
        _, first, inverse = np.unique(
            self._entity[by_entity], return_index=True, return_inverse=True
        )
        self._members = np.split(by_entity, first[1:])
        self._member_of = np.empty(len(windows), np.int64)
        self._member_of[by_entity] = inverse

    def blocks(self, rows: NDArray[np.int64], block_bytes: int) -> Iterator[NDArray[np.int64]]:
        """Yield which of the rows are searched at once, rows of about one time together."""
        by_time = np.argsort(self._place[rows], kind="stable")
        size = max(1, block_bytes // (4 * len(self._order)))
        for first in range(0, len(rows), size):
            yield by_time[first : first + size]

    def nearest(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and distances, `(B, K)` each, of the analogues of `rows` `(B,)`."""
        places = self._place[rows]
        pool, worst = self._pool(places)
        chosen, squared = self._choose(places, pool, self._squared_distances(places, pool))
        for row in np.flatnonzero(~self._is_certain(places, squared[:, -1], worst)):
            one = places[row : row + 1]
            everything = self._candidates(one[0])[None]
            chosen[row], squared[row] = self._choose(
                one, everything, self._squared_distances(one, everything)
            )
        return (
            np.where(chosen < 0, -1, self._order[chosen]),
            np.where(chosen < 0, np.nan, np.sqrt(squared)).astype(np.float32),
        )

    def _pool(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the nearest candidates `(B, M)` by float32, and what the others exceed `(B,)`.

        Each chosen window rules out at most 2 T - 2 others, which overlap it.
        """
        n_columns = max(int(self._n_candidates[places].max()), 1)
        squared = self._embeddings[places] @ self._embeddings[:n_columns].T
        squared *= -2
        squared += self._squares[:n_columns]
        for row, place in enumerate(places):
            squared[row, self._n_candidates[place] :] = np.inf
            barred = self._barred(place)
            squared[row, barred[barred < n_columns]] = np.inf
        size = min(max((self._k - 1) * (2 * self._length - 1) + 2, 2 * self._k), self._max_pool)
        if n_columns <= size:
            pool = np.broadcast_to(np.arange(n_columns), squared.shape).copy()
            worst = np.full(len(places), np.inf, np.float32)
        else:
            pool = np.argpartition(squared, size - 1, axis=1)[:, :size]
            worst = np.take_along_axis(squared, pool, axis=1).max(axis=1)
        pool[np.isinf(np.take_along_axis(squared, pool, axis=1))] = -1
        return pool, worst + self._squares[places]

    @property
    def _max_pool(self) -> int:
        return max(_MAX_POOL, 4 * self._k)

    def _barred(self, place: int) -> NDArray[np.int64]:
        """Return the places of the same entity's windows that are no candidates."""
        members: NDArray[np.int64] = self._members[self._member_of[place]]
        if not self._same_entity:
            return members
        is_near: NDArray[np.bool_] = (
            np.abs(self._start[members] - self._start[place]) < self._length
        )
        return members[is_near]

    def _candidates(self, place: int) -> NDArray[np.int64]:
        return np.setdiff1d(np.arange(self._n_candidates[place]), self._barred(place))

    def _squared_distances(
        self, places: NDArray[np.int64], pool: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return exact squared distances `(B, M)`, infinite where the pool holds none."""
        squared = np.empty(pool.shape)
        width = max(1, 2**20 // (len(places) * self._embeddings.shape[1]))
        for first in range(0, pool.shape[1], width):
            some = pool[:, first : first + width]
            difference = self._embeddings[some].astype(np.float64)
            difference -= self._embeddings[places, None]
            squared[:, first : first + width] = np.square(difference).sum(axis=2)
        squared[pool < 0] = np.inf
        return squared

    def _choose(
        self, places: NDArray[np.int64], pool: NDArray[np.int64], squared: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Take the nearest of the pool, rule out what overlaps it, and so on: `(B, K)` each."""
        by_row = np.argsort(np.where(pool < 0, -1, self._order[pool]), axis=1)
        pool = np.take_along_axis(pool, by_row, axis=1)
        left = np.take_along_axis(squared, by_row, axis=1)
        entity, start = self._entity[pool], self._start[pool]
        chosen = np.full((len(places), self._k), -1)
        distances = np.full((len(places), self._k), np.inf)
        for neighbour in range(self._k if pool.shape[1] else 0):
            best = left.argmin(axis=1)[:, None]
            distances[:, neighbour] = np.take_along_axis(left, best, axis=1)[:, 0]
            chosen[:, neighbour] = np.take_along_axis(pool, best, axis=1)[:, 0]
            shift = np.abs(start - np.take_along_axis(start, best, axis=1))
            is_same = entity == np.take_along_axis(entity, best, axis=1)
            left[is_same & (shift < self._length)] = np.inf
        chosen[np.isinf(distances)] = -1
        return chosen, distances

    def _is_certain(
        self,
        places: NDArray[np.int64],
        last: NDArray[np.float64],
        worst: NDArray[np.float32],
    ) -> NDArray[np.bool_]:
        """Whether no window outside the pool can be as near as the last that was chosen.

        A float32 product of vectors x and y of length L is off by at most L eps |x| |y|, and a y
        as near as that is no longer than |x| and the distance together.
        """
        dimensions = self._embeddings.shape[1]
        length = np.sqrt(self._squares[places].astype(np.float64))
        rounding = (dimensions + 8) * _EPSILON * (2 * length + np.sqrt(last)) ** 2
        is_certain: NDArray[np.bool_] = np.isinf(worst) | (last + rounding < worst)
        return is_certain


def _standardise(
    embeddings: NDArray[np.float32], training: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    by = (embeddings if training is None else embeddings[training]).astype(np.float64)
    deviation = by.std(axis=0)
    # The deviation of equal values is the rounding of their mean.
    varies = deviation > 1e-12 * np.abs(by).max(axis=0)
    scale = np.where(varies, deviation, 1)
    standardised: NDArray[np.float64] = (embeddings - by.mean(axis=0)) / scale
    return standardised.astype(np.float32)


def _validate(
    embeddings: NDArray[np.float32],
    windows: NDArray[np.int64],
    training: NDArray[np.bool_] | None,
    queries: NDArray[np.int64] | None,
) -> None:
    if windows.ndim != 2 or windows.shape[1] != 2 or windows.dtype != np.int64:
        raise ShapeError(
            f"windows is {windows.dtype} of shape {windows.shape}; expected int64 of shape (N, 2), "
            "rows (entity, start)"
        )
    n = len(windows)
    if embeddings.ndim != 2 or len(embeddings) != n or embeddings.dtype != np.float32:
        raise ShapeError(
            f"embeddings is {embeddings.dtype} of shape {embeddings.shape}; expected float32 of "
            f"shape ({n}, L), a row a window"
        )
    if training is not None and (training.shape != (n,) or training.dtype != np.bool_):
        raise ShapeError(
            f"training is {training.dtype} of shape {training.shape}; expected bool of shape ({n},)"
        )
    if queries is not None and (queries.ndim != 1 or queries.dtype != np.int64):
        raise ShapeError(
            f"queries is {queries.dtype} of shape {queries.shape}; expected int64 of shape (Q,), "
            "rows of windows"
        )
    if queries is not None and ((queries < 0) | (queries >= n)).any():
        raise ValueError(f"queries reaches out of the {n} windows; give rows of windows")
    if training is not None and n and not training.any():
        raise ValueError("training holds no window; mark those whose scale the others are given")
    if not np.isfinite(embeddings).all():
        row = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
        raise ValueError(f"embeddings[{row}] is not finite; leave out windows without an embedding")
    n_repeated = n - len(np.unique(windows, axis=0))
    if n_repeated:
        raise ValueError(
            f"{n_repeated} of {n} windows repeat another; take np.unique(windows, axis=0) and "
            "their embeddings"
        )


def _validate_numbers(
    length: int, n_neighbours: int, min_lag: int | None, block_bytes: int
) -> None:
    numbers = {"length": length, "n_neighbours": n_neighbours, "block_bytes": block_bytes}
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if min_lag is not None and min_lag < 0:
        raise ValueError(
            f"min_lag is {min_lag}; it must be at least 0, or None to allow later windows"
        )
