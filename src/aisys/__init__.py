"""AISys: plan workloads on machines, with time, energy, memory, price and measured accuracy."""
