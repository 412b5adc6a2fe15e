"""What the controller asks of other services, by gRPC."""
