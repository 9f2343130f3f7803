"""Lines that are safe to show on a terminal."""


def printable(text: str) -> str:
    """Return a line with what would break it, or steer the terminal, in escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
