"""Reinforcement on one's own replies (stage 3): GRPO with rewards that are pure functions."""
