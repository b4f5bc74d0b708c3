"""`miras mcp`: an assistant selects in photos of this machine, as tools of the Model Context Protocol."""
