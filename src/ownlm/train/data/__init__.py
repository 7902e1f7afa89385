"""From files of text to token shards: read, deduplicate, shuffle, tokenize; and the shards, mapped."""
