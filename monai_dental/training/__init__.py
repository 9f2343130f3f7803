"""Training: datalists, losses, handlers, distributed training, and resuming after a kill."""
