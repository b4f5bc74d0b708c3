"""Conversations about photographs over HTTP: an API for programs, and the files of a page for people.

`app.py` puts the parts together; docs/api.md says what is answered, docs/serve.md how it is run.
"""
