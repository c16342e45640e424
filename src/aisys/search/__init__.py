"""The whole river as functions: one plan evaluated, many at once, or the best ones searched."""

from aisys.search.dataflow_mirroring import Sharing, equal_split, share
from aisys.search.evaluate import evaluate, evaluate_many
from aisys.search.exhaustive import Watch, search
from aisys.search.question import ForwardPass, Method, Serving

__all__ = [
    "ForwardPass", "Method", "Serving", "Sharing", "Watch", "equal_split", "evaluate", "evaluate_many", "search",
    "share",
]  # fmt: skip
