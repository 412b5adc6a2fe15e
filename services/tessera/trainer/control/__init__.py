"""What goes between a run, its driver and the controller: commands in, reports out."""
