"""One optimizer step: its batches, losses, gradients and measures."""
