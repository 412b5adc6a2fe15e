"""Who may call what: one table, and the rules that its rows are. Pure."""
