"""The pure state machine: events in, actions out."""
