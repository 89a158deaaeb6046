"""Makes testdata/tiny: a network of two convolutions and a softmax with fixed random weights, for tests that need a model
but no particular one. The golden output is computed with NumPy alone, so that it does not take ONNX Runtime's word.

    python make_tiny.py     (needs numpy and onnx)
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent / "tiny"
HEIGHT, WIDTH = 32, 64  # different, so that a mix-up shows


def main() -> None:
    rng = np.random.default_rng(20)
    w1 = (rng.standard_normal((4, 3, 3, 3)) * 0.4).astype(np.float32)
    b1 = (rng.standard_normal(4) * 0.1).astype(np.float32)
    w2 = rng.standard_normal((2, 4, 1, 1)).astype(np.float32)
    b2 = np.zeros(2, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c1"], ["r1"]),
            helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"]),
            helper.make_node("Softmax", ["c2"], ["probabilities"], axis=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2, "H", "W"])],
        [numpy_helper.from_array(a, n) for n, a in (("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    HERE.mkdir(exist_ok=True)
    raw = model.SerializeToString()
    (HERE / "model.onnx").write_bytes(raw)

    x = rng.standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    padded = np.pad(x[0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    hidden = np.zeros((4, HEIGHT, WIDTH)) + b1[:, None, None]
    for dy in range(3):
        for dx in range(3):
            hidden += np.einsum("oc,chw->ohw", w1[:, :, dy, dx], padded[:, dy : dy + HEIGHT, dx : dx + WIDTH])
    hidden = np.maximum(hidden, 0)
    logits = np.einsum("oc,chw->ohw", w2[:, :, 0, 0], hidden)
    e = np.exp(logits - logits.max(axis=0))
    (HERE / "golden_input.f32").write_bytes(x.astype("<f4").tobytes())
    (HERE / "golden_output.f32").write_bytes((e / e.sum(axis=0)).astype("<f4").tobytes())
    write_manifest(HERE, raw, ["background", "vessel"])
    make_classes()


def make_classes() -> None:
    """testdata/classes: one 1×1 convolution that calls dark green pixels artery or vein by their red, bright ones disc.

    For tests of models that tell more than vessel from background.
    """
    folder = HERE.parent / "classes"
    folder.mkdir(exist_ok=True)
    classes = ["background", "artery", "vein", "optic-disc"]
    w = np.array([[0, 0, 0], [3, -6, 0], [-3, -6, 0], [0, 8, 0]], np.float32)
    b = np.array([0, -8, -8, -16], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w", "b"], ["c"]),
            helper.make_node("Softmax", ["c"], ["probabilities"], axis=1),
        ],
        "classes",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 4, "H", "W"])],
        [numpy_helper.from_array(w[:, :, None, None], "w"), numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    raw = model.SerializeToString()
    (folder / "model.onnx").write_bytes(raw)
    x = np.random.default_rng(21).standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    logits = np.einsum("oc,chw->ohw", w.astype(np.float64), x[0]) + b[:, None, None]
    e = np.exp(logits - logits.max(axis=0))
    (folder / "golden_input.f32").write_bytes(x.astype("<f4").tobytes())
    (folder / "golden_output.f32").write_bytes((e / e.sum(axis=0)).astype("<f4").tobytes())
    write_manifest(folder, raw, classes)


def write_manifest(folder: Path, raw: bytes, classes: list[str]) -> None:
    manifest = {
        "schema": "noctua.model.v1",
        "name": folder.name,
        "version": "1",
        "file": "model.onnx",
        "sha256": hashlib.sha256(raw).hexdigest(),
        "licence": "Apache-2.0",
        "architecture": "convolutions with made-up weights, for tests",
        "input": {
            "name": "image", "layout": "NCHW", "channels": "RGB", "width_px": 160, "height_px": 160,
            "fov_diameter_px": 150, "resampling": "triangle-antialias", "normalisation": "fov-mean-std",
        },
        "output": {"name": "probabilities", "activation": "softmax", "classes": classes},
        "threshold": 0.5,
        "training_data": [{"name": "none", "split": "none", "images": 1, "licence": "CC0-1.0"}],
        "metrics": [],
        "golden": {
            "input": "golden_input.f32", "input_shape": [1, 3, HEIGHT, WIDTH],
            "output": "golden_output.f32", "output_shape": [1, len(classes), HEIGHT, WIDTH], "tolerance": 1e-4,
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
