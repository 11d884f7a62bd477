"""Settings and entry points. Imported by entry points only."""
