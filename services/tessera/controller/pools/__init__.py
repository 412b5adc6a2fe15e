"""Ray clusters, reached over HTTP: submissions, and what they have."""
