"""What a kit raises."""


class ContractBroken(AssertionError):
    """A plug-in does not do what its kind promises; the message says what, with the values."""


def require(claim: bool, message: str) -> None:
    """Raises ContractBroken with `message` unless `claim` holds."""
    if not claim:
        raise ContractBroken(message)
