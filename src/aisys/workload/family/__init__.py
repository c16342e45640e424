"""Families of published architectures: each file turns configuration fields into a transformer's description."""
