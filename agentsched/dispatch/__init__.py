"""Live: performs the scheduler's actions with tasks, timers and HTTP, in the caller's loop or through a portal."""
