"""What will happen, as distributions: lengths, latencies, the remainder. The serving part is pure."""
