"""The page: a browser on this machine denoises radiographs, without a command line."""
