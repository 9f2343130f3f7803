"""Orthanc by its REST interface: finds complete studies, fetches them, and stores results."""
