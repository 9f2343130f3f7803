"""Safe output for terminals."""


def printable(text: str) -> str:
    """Return a line with line breaks and control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
