"""Training: datalists, losses, handlers, several processes, going on after a kill."""
