"""DIMSE: a PACS by C-STORE, C-FIND, C-GET and storage commitment."""
