"""Published experiments, made again in the simulator: the figures reported, ours beside them, and all assumptions."""
