"""Recorded runs and recorded arrivals: reading them from whatever file they stand in, and simulating them."""
