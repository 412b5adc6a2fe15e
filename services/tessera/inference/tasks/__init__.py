"""What a model is asked to do: from texts to what the engine runs, and from that to answers."""
