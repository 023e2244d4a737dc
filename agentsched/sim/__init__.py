"""Simulated: the scheduler that runs live, on virtual time, over the engine model that the emulator serves."""
