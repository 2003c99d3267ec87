# Writes safetensors/testdata/reference.safetensors with the reference implementation. Made with safetensors 0.8.0 and
# numpy 2.4.6; run from the repository root. Values are known to safetensors/safetensors_test.go.
import numpy as np
import safetensors

keep = []  # the library takes addresses, so the memory behind them must live on

def t(dtype, shape, data):
    keep.append(np.frombuffer(data, dtype=np.uint8))
    return safetensors.TensorSpec(dtype=dtype, shape=shape, data_ptr=keep[-1].ctypes.data, data_len=len(data))

f = np.array([[1.5, -2.0, 0.25], [65504.0, 0.0, -0.0]], dtype=np.float32)
bf16 = (f.view(np.uint32) >> 16).astype(np.uint16)
tensors = {
    "f64": t("float64", [2, 3], f.astype(np.float64).tobytes()),
    "f32": t("float32", [2, 3], f.tobytes()),
    "f16": t("float16", [2, 3], f.astype(np.float16).tobytes()),
    "bf16": t("bfloat16", [2, 3], bf16.tobytes()),
    "i64": t("int64", [2], np.array([-1, 2**62], dtype=np.int64).tobytes()),
    "i32": t("int32", [1, 2], np.array([[-1, 7]], dtype=np.int32).tobytes()),
    "i16": t("int16", [1], np.array([-3], dtype=np.int16).tobytes()),
    "i8": t("int8", [3], np.array([-1, 0, 1], dtype=np.int8).tobytes()),
    "u8": t("uint8", [], np.array(200, dtype=np.uint8).tobytes()),
    "bool": t("bool", [2], np.array([True, False]).tobytes()),
    "empty": t("float32", [0, 4], b""),
    "naïve \"name\"": t("float32", [1], np.array([3], dtype=np.float32).tobytes()),
}
written = safetensors.serialize(tensors, {"format": "pt", "note": "ä"})
with open("safetensors/testdata/reference.safetensors", "wb") as out:
    out.write(written)
