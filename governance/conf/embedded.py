"""Where the embedded PostgreSQL and Valkey listen, and how they are started and stopped."""

from pathlib import Path


def database_url(var_dir: Path) -> str:
    """The embedded database's address for a data folder, whether or not it runs now."""
    return f"postgresql://postgres@/weighhouse?host={var_dir / 'run'}"


def broker_url(var_dir: Path) -> str:
    """The embedded broker's address for a data folder, whether or not it runs now."""
    return f"redis+socket://{var_dir / 'run' / 'valkey.sock'}"
