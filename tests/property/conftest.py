"""Laws hold however busy the computer is: no example has a deadline."""

from hypothesis import settings

settings.register_profile("laws", deadline=None)
settings.load_profile("laws")
