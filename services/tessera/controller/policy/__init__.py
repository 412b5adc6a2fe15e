"""What decides, without a wire, a cluster, a database or a clock of its own. Pure."""
