"""The gRPC services: protobuf stops here."""
