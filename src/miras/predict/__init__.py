"""The same questions about many photos: asked on all cores, kept as they are answered, written for other tools."""
