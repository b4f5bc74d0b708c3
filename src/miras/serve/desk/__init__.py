"""Where a model answers: its sessions in memory, those put aside, in this process or in another one.

`sessions.py` keeps sessions by bytes, `aside.py` writes those that memory has no room for into files and reads them
back as they were.
"""
