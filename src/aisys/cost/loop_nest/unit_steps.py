"""Steps that a nest needs at least, given which factors the open fan-outs can still take: a compiled loop over rows."""

from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Factors = tuple[int, ...]


def widest(fanouts: Iterable[Sequence[Factors]], num_dims: int, counts: Sequence[int]) -> Ints:
    """Factors per dim, [choices, dims], that one choice per fan-out makes: those that no other has more of everywhere.

    counts: elements of each dim; a larger factor is worth no more. Factors of 1 where a fan-out has no choice at all.
    """
    found = {(1,) * num_dims}
    for choices in fanouts:
        both = {
            tuple(min(a * b, most) for a, b, most in zip(one, other, counts, strict=True))
            for one in found
            for other in _maximal(set(choices))
        }
        found = _maximal(both)
    return np.array(sorted(found) or [(1,) * num_dims], np.int64)


def _maximal(found: set[Factors]) -> set[Factors]:
    """Without the vectors that another one is at least as large as in every place."""
    rows = np.array(sorted(found, key=lambda v: (-sum(v), v)), np.int64)
    kept: list[int] = []
    for i in range(len(rows)):
        if not (rows[kept] >= rows[i]).all(axis=1).any():
            kept.append(i)
    return {tuple(int(f) for f in rows[i]) for i in kept}


@njit(cache=True)
def least_steps(steps, tiles, parts, wide, found):  # type: ignore[no-untyped-def]  # compiled
    """found[row]: steps after the best choice of the open fan-outs, if every unit is then as busy as it can be.

    steps: of all tiles, one after the other; tiles: size index of each dim, [rows, dims]; parts: tiles of each dim, and
    the share of the last one, [2, rows, dims]; wide: whole tiles before the last one after each choice, [dims, sizes,
    choices].
    """
    num_dims, choices = tiles.shape[1], wide.shape[2]
    total = np.empty(choices)
    for row in range(len(steps)):
        now = 1.0
        total[:] = 1.0
        for d in range(num_dims):
            last = parts[1, row, d]
            if parts[0, row, d] == 1.0 and last == 1.0:
                continue
            now *= parts[0, row, d] - 1.0 + last
            own = wide[d, tiles[row, d]]
            for choice in range(choices):
                total[choice] *= own[choice] + last
        found[row] = steps[row] / now * min(now, total.min())
