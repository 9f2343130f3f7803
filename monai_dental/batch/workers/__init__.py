"""Workers: processes that do one file at a time, on this machine or a Ray cluster."""
