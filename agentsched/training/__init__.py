"""Training of the length forecasters that need more than counting: the only room that imports torch."""
