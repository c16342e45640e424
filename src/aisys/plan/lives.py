"""Which tensors of a block are alive at which op, and what they hold together at most."""

from collections.abc import Iterable, Set


class Lives:
    """Tensors from the op that writes them to the last one that reads them, in program order.

    A tensor that is written again lives again. A view lives in the tensor that it shows.
    """

    def __init__(self) -> None:
        self.now = 0
        self._lives: list[tuple[str, float, int, int]] = []  # name, bytes, first op, last op
        self._open: dict[str, tuple[float, int, int]] = {}
        self._shown: dict[str, str] = {}
        self._beside: dict[str, str] = {}

    def tick(self, reads: Iterable[str]) -> None:
        """The next op, which reads these tensors and the copies beside them."""
        self.now += 1
        for name in reads:
            root = self._shown.get(name, name)
            for alive in (root, self._beside.get(root, "")):
                if alive in self._open:
                    num_bytes, first, _ = self._open[alive]
                    self._open[alive] = (num_bytes, first, self.now)

    def write(self, name: str, num_bytes: float, *, beside: str = "") -> None:
        """The current op writes `name`. beside: the tensor of which it is a copy, read whenever that is read."""
        if beside:
            self._beside[self._shown.get(beside, beside)] = name
        self._close(name)
        self._open[name] = (num_bytes, self.now, self.now)

    def alias(self, view: str, shown: str) -> None:
        """`view` holds no bytes of its own."""
        self._shown[view] = self._shown.get(shown, shown)

    def forget(self, name: str) -> None:
        """The copy beside `name` is not kept any longer."""
        self._beside.pop(self._shown.get(name, name), None)

    def peak_bytes(self, apart: Set[str]) -> float:
        """The most that is alive at one op; tensors in `apart` are counted elsewhere."""
        for name in list(self._open):
            self._close(name)
        change = [0.0] * (self.now + 2)
        for name, num_bytes, first, last in self._lives:
            if name not in apart:
                change[first] += num_bytes
                change[last + 1] -= num_bytes
        peak = held = 0.0
        for step in change:
            held += step
            peak = max(peak, held)
        return peak

    def _close(self, name: str) -> None:
        if name in self._open:
            self._lives.append((name, *self._open.pop(name)))
