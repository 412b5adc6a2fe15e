"""The gRPC services of a replica: protobuf in, domain out, and back."""
