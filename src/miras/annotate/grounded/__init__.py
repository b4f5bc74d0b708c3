"""The three steps without a language model: from masks that people drew and a knowledge base."""
