"""Shared endpoint state: stores that several processes write to and read, and the thread that does so."""
