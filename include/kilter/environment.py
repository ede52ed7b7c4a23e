"""The installed packages, as one digest."""

from __future__ import annotations

import hashlib
from importlib.metadata import distributions


def environment_digest() -> str:
    """SHA-256 over name and version of every installed distribution: what a lock file promises, as found."""
    found = sorted({f"{item.metadata['Name']}=={item.version}" for item in distributions()})
    return hashlib.sha256("\n".join(found).encode()).hexdigest()
