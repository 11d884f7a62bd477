"""The collector: reads what harnesses write on an engineer's machine and posts its usage, never its text.

Needs Python's standard library and nothing of this repository outside this folder, so that the folder is a package by itself
(`pipx run`, `python -m`). The server reads the same files with the same readers.
"""

VERSION = "1.0"
