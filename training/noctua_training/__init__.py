"""Training, evaluation and export of Noctua's retinal vessel networks.

The package ends in a folder ``models/<name>/`` that the Go program reads: ``model.onnx``, ``manifest.json`` and golden
tensors. What both programs must do alike (field-of-view geometry, canonical canvas, normalisation, mapping back) is in
``canvas.py``; everything else is free to change without touching Go.
"""

__version__ = "1.0.0"
