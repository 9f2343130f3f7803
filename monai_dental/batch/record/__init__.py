"""What a batch knows of each file: a row in a manifest, whole or in shards."""
