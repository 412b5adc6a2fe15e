"""Between protobuf and the service's own types."""
