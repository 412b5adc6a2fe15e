"""What runs learn: for each task its data, losses, measures and baseline."""
