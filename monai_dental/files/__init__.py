"""Files and folders: whole or not at all, one writer at a time, never over another's work."""
