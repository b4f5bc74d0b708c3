"""From photographs to conversations: the three steps, the teachers that answer them, the journal of what was paid."""
