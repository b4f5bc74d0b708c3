"""Our own model behind a session: its cache, its token loop, its sessions as text."""
