"""DIMSE: access to a PACS by C-STORE, C-FIND, C-GET, C-MOVE and storage commitment."""
