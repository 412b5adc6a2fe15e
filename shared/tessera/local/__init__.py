"""A whole platform on one machine: Ray, the controller and the process that watches them."""
