"""How each kind of document is read, one module per kind: from an open file to text, pages, tables and metadata.

This runs in the sandboxed child. Heavy libraries are imported here and nowhere above.
"""
