"""The model families, a file each: how its trunk runs, and one row of facts."""
