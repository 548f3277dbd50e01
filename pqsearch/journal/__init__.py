"""The study's one durable record: sequenced, checksummed events, written before anyone acts on them."""
