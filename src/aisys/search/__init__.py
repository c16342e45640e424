"""The whole river as functions: one plan evaluated, many at once, or the best ones searched."""

from aisys.search.evaluate import evaluate, evaluate_many
from aisys.search.question import Method, Serving
from aisys.search.search import search

__all__ = ["Method", "Serving", "evaluate", "evaluate_many", "search"]
