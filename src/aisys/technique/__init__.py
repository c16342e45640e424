"""Techniques: changes to what is computed or decided, each one file with one public class.

A technique has one or more of four verbs: `apply(graph)` changes the workload, `constrain(space)` narrows the plans,
`rewrite(sends)` changes what is communicated, `emulate(model)` does to a real model what `apply` prices.
"""
