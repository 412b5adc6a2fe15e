"""What decides: pure. No wire, no cluster, no database and no clock of its own."""
