"""A real control plane on this machine: official binaries, simulated nodes and pods."""
