"""One function over many items, in order: in threads, in processes, over Ray."""
