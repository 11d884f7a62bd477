"""Reads for the pages: each starts from what the actor may see."""
