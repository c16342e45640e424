"""Which of many results no other beats in everything."""

import numpy as np
from numpy.typing import NDArray


def pareto(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the rows of `values` [rows, objectives] (all to be small) that no other row dominates, in order.

    Of equal rows the first stays.

    >>> pareto(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 4.0]])).tolist()
    [0, 1]
    """
    order = np.lexsort(values.T[::-1])
    kept: list[int] = []
    for row in order.tolist():
        chosen = values[kept]
        if not kept or not (chosen <= values[row]).all(axis=1).any():
            kept.append(row)
    return np.array(sorted(kept), np.int64)
