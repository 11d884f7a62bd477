"""Signals as they are committed, to whoever holds a stream open."""
