"""Prints what pydicom reads of the object that the argument names, as JSON."""

import hashlib
import json
import sys
import warnings

import pydicom

warnings.simplefilter("error")  # a warning is a complaint
dataset = pydicom.dcmread(sys.argv[1])
found = {
    "attributes": {e.keyword: str(e.value) for e in dataset if e.VR != "SQ" and e.keyword != "PixelData"},
    "segments": [],
}
if dataset.Modality == "SEG":
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    groups = dataset.PerFrameFunctionalGroupsSequence
    for frame, group in zip(frames, groups, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found["segments"].append(
            {
                "number": number,
                "label": dataset.SegmentSequence[number - 1].SegmentLabel,
                "pixels": int(frame.sum()),
                "sha256": hashlib.sha256(frame.tobytes()).hexdigest(),
            }
        )
json.dump(found, sys.stdout)
