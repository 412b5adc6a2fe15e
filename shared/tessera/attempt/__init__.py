"""What an attempt of a job tells: how far it is, and why it failed."""
