"""Convolutional networks: layers over images, from descriptions and from files of other simulators."""

from aisys.workload.image.network import image_graph
from aisys.workload.image.topology_file import read_topology

__all__ = ["image_graph", "read_topology"]
