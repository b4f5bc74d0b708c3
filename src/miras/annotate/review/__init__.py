"""What is wrong with a conversation, and why it is rejected: rules, language, the dataset as a whole."""
