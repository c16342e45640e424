"""Communication libraries: which algorithm each picks, and how long it takes on real links.

A library is a file of this folder with `price(rows, link, tiers) -> Price`.
"""
