"""Where a model answers: its sessions in memory and put aside, in this process or in another one.

`local.py` is a desk, `far.py` one in another process, `cluster.py` begins and ends those. `sessions.py` keeps sessions
by bytes, `aside.py` writes those that memory has no room for into files and reads them back as they were.
"""
