"""What must hold between the fields of a resolved spec, a module for each of its parts."""
