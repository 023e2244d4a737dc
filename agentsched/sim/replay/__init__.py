"""What recorded runs would have come to on another pool."""
