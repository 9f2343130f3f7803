"""The app folder for `monailabel start_server --app`; MONAI Label looks for its app here."""

from monai_dental.label.app import DenoisingApp as DenoisingApp
