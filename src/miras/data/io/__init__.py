"""What readers and writers of all formats share: checks, places of files, streams, what is left out."""
