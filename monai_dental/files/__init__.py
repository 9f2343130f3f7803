"""Files and folders: atomic writing, locks and checks that protect existing results."""
