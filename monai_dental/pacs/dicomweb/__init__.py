"""DICOMweb: access to a PACS by STOW-RS, QIDO-RS and WADO-RS."""
