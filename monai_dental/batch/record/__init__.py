"""The record of a batch: a row for each file, in one manifest or one for each shard."""
