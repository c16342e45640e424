"""Every error a user can cause. Each message says what and where, with the values, and then what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class AisysError(Exception):
    """Root of all errors raised on purpose; the command line prints it as one sentence and exits with `exit_code`."""

    exit_code = 2


class BadInput(AisysError):
    """A file, argument or table that cannot be read as what it should be."""


class UnknownName(AisysError):
    """A name that nothing here answers to; the message lists the nearest known ones."""


class InvalidGraph(AisysError):
    """A workload graph breaks a rule of `ir.verify`."""


class CannotApply(AisysError):
    """A technique or a plan does not fit this graph or machine."""


class Unsupported(AisysError):
    """A device model has no cost rule for this op."""


class MissingExtra(AisysError):
    """An optional package is not installed; the message gives the command that installs it."""


class DoesNotFit(AisysError):
    """The question is well formed and its answer is no: nothing fits."""

    exit_code = 1


def unknown_name(what: str, name: str, known: Iterable[str]) -> UnknownName:
    """An UnknownName for `name`, with the nearest of the `known` names.

    >>> str(unknown_name("model", "lama", ["llama", "gpt2"]))
    "unknown model 'lama'; nearest known: llama"
    """
    choices = sorted(known)
    near = get_close_matches(name.lower(), choices, n=3, cutoff=0.5) or choices[:8]
    return UnknownName(f"unknown {what} {name[:80]!r}; nearest known: {', '.join(near) or '(none)'}")
