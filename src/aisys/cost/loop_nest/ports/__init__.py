"""Convolutions on an array whose memory ports stall it: ZigZag's cost model for many mappings at once, and a search."""

from aisys.cost.loop_nest.ports.array import Layer, Port, PortedArray, Store
from aisys.cost.loop_nest.ports.latency import LayerCost, evaluate
from aisys.cost.loop_nest.ports.search import layer_front, network_front

__all__ = ["Layer", "LayerCost", "Port", "PortedArray", "Store", "evaluate", "layer_front", "network_front"]
