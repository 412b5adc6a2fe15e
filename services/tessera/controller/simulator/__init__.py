"""The scheduler's own code under a simulated clock and fleet, with faults, from a seed. Pure."""
