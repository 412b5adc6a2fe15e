"""The command line, `tessera`: one file for each group of commands."""
