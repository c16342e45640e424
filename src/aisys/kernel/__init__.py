"""Compiled kernels that really run on real data and count what they access.

Each kernel is one module with `run(data, ...)`, which gives the result with exact counts of its work, and
`record(data, result)`, which walks the same accesses again and gives their AccessRecord. Importing a kernel loads the
compiler, so readers import it inside the function that runs it.
"""
