"""The three steps answered by a language model: elements, reasoning, dialogues; nothing is paid twice."""
