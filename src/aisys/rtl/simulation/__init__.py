"""Two simulators of the same circuit: Amaranth's own, and Verilator where it is installed."""
