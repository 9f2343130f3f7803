"""The viewer that report, page and MONAI Label's page share: its files, and what it shows."""
