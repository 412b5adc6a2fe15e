"""Files of records: read, decoded and taken apart, by the client and by the trainer alike."""
