"""The viewer shared by the report, the page and MONAI Label's page: its files and its data."""
