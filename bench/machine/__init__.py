"""The machine: devices, memory, processes and versions."""
