"""In the place of pydicom_seg, which does not import beside pydicom 3 (MONAILabel issue 1841).

MONAI Label imports it when it starts, and uses it for DICOM segmentations alone,
which nothing here makes.
"""
