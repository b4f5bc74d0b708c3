"""Conversations about a photo: sessions, the token loop, saving and loading."""
