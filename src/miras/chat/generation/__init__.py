"""How a reply comes to be: the cache, which token may come next, speculative drafts, names, masks."""
