"""The nouns that every room shares: frozen values, numpy only, no clock, no chance, no I/O."""
