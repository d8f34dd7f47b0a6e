"""Whether what reads and runs ONNX files is installed."""

from importlib.util import find_spec

from models.errors import BenchError

_PACKAGES = ("onnx", "onnxruntime")


def check_packages() -> None:
    """Raise BenchError where `onnx` or `onnxruntime` is missing; neither is imported."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise BenchError(
            f"{' and '.join(missing)} not installed; pip install 'quantization-bench[export]'"
        )
