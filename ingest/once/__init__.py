"""One call, several reports of it: who reports, how reports are recognised as the same call, whose figures stand, and what an admin can undo."""
