"""The page: denoise radiographs in a browser on this machine, without a command line."""
