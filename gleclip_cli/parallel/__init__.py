"""How work is spread over a machine: devices, and what a batch may hold."""
